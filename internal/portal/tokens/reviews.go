package tokens

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"golang.org/x/time/rate"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/fairqueue"
	"github.com/latchkey-dev/latchkey/internal/problem"
)

// Audience is what a Kubernetes token has to be for. One for the Kubernetes API
// itself must not be sent to anybody else, and is not accepted.
const Audience = "latchkey.dev"

const (
	// reviewTTL is how long an answer of the cluster's is believed: for so long
	// goes on working what was taken away.
	reviewTTL = 10 * time.Second
	// reviewsKept bounds the answers of each kind that are remembered.
	reviewsKept = 4096
	// reviewsPerSecond and reviewsBurst bound how many Kubernetes tokens are asked about,
	// decisionsPerSecond and decisionsBurst how often what somebody may do: a page of
	// Settings takes four answers.
	reviewsPerSecond, reviewsBurst     = 20, 40
	decisionsPerSecond, decisionsBurst = 60, 120
	// reviewPatience is how long a question to the cluster waits for its turn.
	reviewPatience = 2 * time.Second
	// namesPerSecond and namesBurst bound how often it is asked what a user may do to one
	// ApiToken of a namespace.
	namesPerSecond, namesBurst = 2, 20
	// maxKubernetesToken bounds what is decoded.
	maxKubernetesToken = 8 << 10
)

// systemClock times the turns, whatever clock the tests give.
var systemClock clock.WithDelayedExecution = clock.RealClock{}

// User is a user of the cluster.
type User struct {
	// Name is such as system:serviceaccount:NAMESPACE:NAME.
	Name string
	uid  string
	// groups and extra are what else an authorizer decides by.
	groups []string
	extra  map[string]authenticationv1.ExtraValue
	// isMaker says that the cluster need not be asked; see Maker.
	isMaker bool
}

// reviews ask the cluster who calls and what he may do.
type reviews struct {
	client         client.Client
	clock          clock.PassiveClock
	authentication *fairqueue.Queue
	authorization  *fairqueue.Queue
	users          *cache[*User]
	// known are Kubernetes tokens that belonged to somebody when that was last asked.
	known     *cache[struct{}]
	decisions *cache[bool]
	// names are the users' shares of the questions about single ApiTokens.
	names *cache[*rate.Limiter]
}

func newReviews(c client.Client, clock clock.PassiveClock) *reviews {
	return &reviews{
		client: c, clock: clock,
		authentication: fairqueue.New(reviewsPerSecond, reviewsBurst, systemClock),
		authorization:  fairqueue.New(decisionsPerSecond, decisionsBurst, systemClock),
		users:          newCache[*User](reviewsKept),
		known:          newCache[struct{}](reviewsKept),
		decisions:      newCache[bool](reviewsKept),
		names:          newCache[*rate.Limiter](reviewsKept),
	}
}

// IsKubernetesToken says whether a text has the form of a Kubernetes token for the
// audience. It verifies nothing.
func IsKubernetesToken(text string) bool {
	_, ok := parseClaims(text)
	return ok
}

// claims are what of a JWT is looked at before it is verified.
type claims struct {
	Audience audiences `json:"aud"`
	Expiry   float64   `json:"exp"`
}

// audiences are one text or several (RFC 7519, section 4.1.3).
type audiences []string

func (a *audiences) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*a = audiences{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(a))
}

func parseClaims(text string) (c claims, ok bool) {
	parts := strings.Split(text, ".")
	if len(text) > maxKubernetesToken || len(parts) != 3 || parts[2] == "" {
		return c, false
	}
	var header struct {
		Algorithm string `json:"alg"`
	}
	for part, into := range map[string]any{parts[0]: &header, parts[1]: &c} {
		content, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil || json.Unmarshal(content, into) != nil {
			return c, false
		}
	}
	return c, header.Algorithm != "" && slices.Contains(c.Audience, Audience)
}

// Authenticate finds out whom a Kubernetes token belongs to. mayAsk permits to ask
// the cluster; otherwise only what is remembered counts.
func (s *Service) Authenticate(ctx context.Context, text string, mayAsk bool) (*User, *problem.Problem) {
	now := s.config.Clock.Now()
	found, ok := parseClaims(text)
	if !ok {
		return nil, problem.TokenInvalid
	}
	expiry := time.Unix(int64(min(found.Expiry, 1<<40)), 0)
	if !now.Before(expiry) {
		return nil, problem.TokenInvalid
	}
	return s.reviews.authenticate(ctx, text, expiry, now, mayAsk)
}

func (r *reviews) authenticate(ctx context.Context, text string, expiry, now time.Time, mayAsk bool) (*User, *problem.Problem) {
	k := key(sha256.Sum256([]byte(text)))
	user, known := r.users.get(k, now)
	if !known {
		if !mayAsk {
			return nil, problem.TooManyBadTokens
		}
		// Anybody can make up what looks like a token. One that worked goes before those.
		if _, worked := r.known.get(k, now); worked {
			ctx = fairqueue.Urgent(ctx)
		}
		if !inTurn(ctx, r.authentication) {
			return nil, tooManyReviews
		}
		review := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: text, Audiences: []string{Audience}}}
		if err := r.client.Create(ctx, review); err != nil {
			return nil, unavailable(err)
		}
		// An authenticator that knows no audiences names none.
		if status := review.Status; status.Authenticated && slices.Contains(status.Audiences, Audience) {
			user = &User{Name: status.User.Username, uid: status.User.UID, groups: status.User.Groups, extra: status.User.Extra}
			r.known.put(k, struct{}{}, now, expiry)
		}
		until := now.Add(reviewTTL)
		if expiry.Before(until) {
			until = expiry
		}
		r.users.put(k, user, now, until)
	}
	if user == nil {
		return nil, problem.TokenInvalid
	}
	return user, nil
}

// inTurn waits a little for a turn among the tenants.
func inTurn(ctx context.Context, q *fairqueue.Queue) bool {
	ctx, cancel := context.WithTimeout(ctx, reviewPatience)
	defer cancel()
	return q.Wait(ctx) == nil
}

// mayDo says whether RBAC, or what else authorizes, lets the user do something to
// an ApiToken of the namespace, or to all of them where name is empty. Names are asked
// for one by one only where all of them are not permitted, and seldom: whoever makes
// names up must not use up what others are asked for.
func (r *reviews) mayDo(ctx context.Context, user *User, verb, namespace, name string) (bool, *problem.Problem) {
	allowed, refused := r.ask(ctx, user, verb, namespace, "")
	if allowed || refused != nil || name == "" {
		return allowed, refused
	}
	if !r.limitNames(user, namespace).AllowN(r.clock.Now(), 1) {
		return false, tooManyDecisions
	}
	return r.ask(ctx, user, verb, namespace, name)
}

// limitNames bounds how often it is asked what a user may do to single ApiTokens.
func (r *reviews) limitNames(user *User, namespace string) *rate.Limiter {
	now, k := r.clock.Now(), key(sha256.Sum256([]byte(namespace+"\x00"+user.Name)))
	limiter, known := r.names.get(k, now)
	if !known {
		limiter = rate.NewLimiter(namesPerSecond, namesBurst)
	}
	r.names.put(k, limiter, now, now.Add(namesBurst/namesPerSecond*time.Second))
	return limiter
}

// ask asks the cluster, or remembers what it answered.
func (r *reviews) ask(ctx context.Context, user *User, verb, namespace, name string) (bool, *problem.Problem) {
	now := r.clock.Now()
	spec := authorizationv1.SubjectAccessReviewSpec{
		User: user.Name, UID: user.uid, Groups: user.groups, Extra: map[string]authorizationv1.ExtraValue{},
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Verb: verb, Group: v1alpha1.SchemeGroupVersion.Group, Version: v1alpha1.SchemeGroupVersion.Version,
			Resource: "apitokens", Namespace: namespace, Name: name,
		},
	}
	for name, values := range user.extra {
		spec.Extra[name] = authorizationv1.ExtraValue(values)
	}
	question, err := json.Marshal(spec)
	if err != nil {
		return false, problem.Fault(err)
	}
	k := key(sha256.Sum256(question))
	if allowed, known := r.decisions.get(k, now); known {
		return allowed, nil
	}
	if !inTurn(ctx, r.authorization) {
		return false, tooManyDecisions
	}
	review := &authorizationv1.SubjectAccessReview{Spec: spec}
	if err := r.client.Create(ctx, review); err != nil {
		return false, unavailable(err)
	}
	r.decisions.put(k, review.Status.Allowed, now, now.Add(reviewTTL))
	return review.Status.Allowed, nil
}
