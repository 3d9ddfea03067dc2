package tokens

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/latchkey-dev/latchkey/internal/fairqueue"
	"github.com/latchkey-dev/latchkey/internal/problem"
)

func exceedsCaller(exceeds []string) *problem.Problem {
	return &problem.Problem{Code: problem.CodeExceedsCaller, Status: http.StatusForbidden, Exceeds: exceeds,
		Title: "A token can't make another that may do more", Detail: "Too much is asked for: " + strings.Join(exceeds, "; ") + "."}
}

func forbidden(user, verb, namespace string) *problem.Problem {
	return &problem.Problem{Code: problem.CodeForbidden, Status: http.StatusForbidden,
		Title:  "The account may not do this",
		Detail: fmt.Sprintf("No Role lets %s %s apitokens.latchkey.dev in namespace %s.", user, verb, namespace)}
}

// Replaced answers who wants to replace a credential that somebody has replaced
// already: what was shown then is shown to nobody again.
var Replaced = conflict("The token has another credential by now.")

var (
	selfRotationForbidden = &problem.Problem{Code: problem.CodeSelfRotationForbidden, Status: http.StatusForbidden,
		Title: "A token may not replace itself here", Detail: "The account's token policy leaves rotation to people. Ask one of them."}
	preconditionFailed = &problem.Problem{Code: problem.CodePreconditionFailed, Status: http.StatusPreconditionFailed,
		Title: "The token has changed", Detail: "It is not as the ETag in If-Match says. Read it again."}
	tooManyReviews = &problem.Problem{Code: problem.CodeRateLimited, Status: http.StatusTooManyRequests, RetryAfter: time.Second,
		Title: "Too many Kubernetes tokens", Detail: "Too many Kubernetes tokens are to be checked at a time. Try again shortly."}
	tooManyDecisions = &problem.Problem{Code: problem.CodeRateLimited, Status: http.StatusTooManyRequests, RetryAfter: time.Second,
		Title: "Too many requests at a time", Detail: "What too many callers may do is to be found out at a time. Try again shortly."}
	tooManyLists = &problem.Problem{Code: problem.CodeRateLimited, Status: http.StatusServiceUnavailable, RetryAfter: time.Second,
		Title: "The list is asked for too often", Detail: "Others of this account are looking at it at this moment. Try again shortly."}
	tooManyReads = &problem.Problem{Code: problem.CodeRateLimited, Status: http.StatusServiceUnavailable, RetryAfter: time.Second,
		Title: "Too many lists are read at a time", Detail: "Lists of other accounts are read at this moment. Try again shortly."}
	tooManyWaiting = &problem.Problem{Code: problem.CodeRateLimited, Status: http.StatusTooManyRequests, RetryAfter: time.Second,
		Title: "Too many requests at a time", Detail: "Too many requests of this account wait for their turn. Try again shortly."}
)

func conflict(detail string) *problem.Problem {
	return &problem.Problem{Code: problem.CodeConflict, Status: http.StatusConflict, Title: "It does not fit what is there", Detail: detail}
}

func policyViolation(violations ...string) *problem.Problem {
	return &problem.Problem{Code: problem.CodePolicyViolation, Status: http.StatusUnprocessableEntity,
		Title: "The token policy does not permit it", Detail: strings.Join(violations, "; ")}
}

func tokenNotFound(name string) *problem.Problem {
	return &problem.Problem{Code: problem.CodeNotFound, Status: http.StatusNotFound,
		Title: "There is no such token", Detail: fmt.Sprintf("The account has no token named %.63q.", name)}
}

// unavailable answers for a Kubernetes API server that did not.
func unavailable(cause error) *problem.Problem {
	if errors.Is(cause, fairqueue.ErrFull) {
		return tooManyWaiting
	}
	p := *problem.Stale
	p.Title, p.Detail, p.Cause = "The service can't reach its cluster at the moment", "Nothing is known to have been done. Look before you try again.", cause
	return &p
}

// clusterProblem turns an error of the Kubernetes API into an answer. What the API
// server says of an object that it refuses is for the caller; all else is for the
// log.
func clusterProblem(err error) *problem.Problem {
	var status *apierrors.StatusError
	switch {
	case apierrors.IsInvalid(err) && errors.As(err, &status):
		return refusedByValidation(status)
	case apierrors.IsConflict(err):
		return conflict("Somebody changed it at the same time. Read it again.")
	case apierrors.IsResourceExpired(err), apierrors.IsGone(err):
		return &problem.Problem{Code: problem.CodePageExpired, Status: http.StatusGone,
			Title: "The page is too old", Detail: "Begin the list anew, without continue."}
	case apierrors.IsTimeout(err), apierrors.IsServerTimeout(err), apierrors.IsTooManyRequests(err),
		apierrors.IsServiceUnavailable(err), errors.Is(err, context.DeadlineExceeded), !errors.As(err, &status):
		return unavailable(err)
	default:
		return problem.Fault(err)
	}
}

func refusedByValidation(status *apierrors.StatusError) *problem.Problem {
	var reasons []string
	if details := status.ErrStatus.Details; details != nil {
		for _, cause := range details.Causes {
			reasons = append(reasons, fmt.Sprintf("%s: %s", strings.TrimPrefix(cause.Field, "spec."), cause.Message))
		}
	}
	p := problem.Invalid(strings.Join(reasons, "; "))
	p.Status = http.StatusUnprocessableEntity
	if p.Detail == "" {
		p.Detail = "The cluster refused it."
	}
	return p
}
