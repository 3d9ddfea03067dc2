package cli

import (
	"context"
	"fmt"
	"io"

	authenticationv1 "k8s.io/api/authentication/v1"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// user is who the API server takes the user for.
func (s *session) user(ctx context.Context) (string, error) {
	review := &authenticationv1.SelfSubjectReview{}
	if err := s.client.Create(ctx, review); err != nil {
		return "", fmt.Errorf("the API server does not say who you are: %w", err)
	}
	return review.Status.UserInfo.Username, nil
}

// claimant is the user, or empty with a note: a token without a claim is better
// than none, since the cluster's audit log knows anyway.
func (s *session) claimant(ctx context.Context, errOut io.Writer) string {
	name, err := s.user(ctx)
	if err != nil {
		_, _ = fmt.Fprintf(errOut, "Note: it is not noted who does this, since %v.\n", err)
	}
	return name
}

// claim notes on an ApiToken who did something to it. An unknown user takes an
// earlier claim away, which would be about somebody else's deed.
func claim(object *v1alpha1.ApiToken, annotation, user string) {
	if user == "" {
		delete(object.Annotations, annotation)
		return
	}
	if object.Annotations == nil {
		object.Annotations = map[string]string{}
	}
	object.Annotations[annotation] = user
}
