package tokens

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// isRefusal says whether the API server answered that it did not do what it was
// asked. After any other error, such as a gateway's 504, it may have.
func isRefusal(err error) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status) && status.Status().Code >= 400 && status.Status().Code < 500
}

// lookUpTimeout is for how long a write is looked for whose answer was lost: it may be
// done a moment after the API server gave up waiting for it.
const lookUpTimeout = 2 * time.Second

// store judges the error of a write. Where the answer was lost, or where client-go
// wrote once more after it was, what is stored decides.
func (s *Service) store(ctx context.Context, object *v1alpha1.ApiToken, err error) error {
	switch exists := apierrors.IsAlreadyExists(err); {
	case err == nil:
		return nil
	case exists && s.isStored(ctx, object) == nil:
		return nil
	case exists:
		return conflict(fmt.Sprintf("There is a token named %s. Choose another name, or rotate it.", object.Name))
	case isRefusal(err):
		return clusterProblem(err)
	}
	ctx, cancel := detached(ctx) // the write may have used up all the time that there was
	defer cancel()
	unknown := wait.PollUntilContextTimeout(ctx, pollInterval, lookUpTimeout, true, func(ctx context.Context) (bool, error) {
		return s.isStored(ctx, object) == nil, nil
	})
	if unknown != nil {
		return unavailable(err)
	}
	return nil
}

// isStored returns nil, and the object as it is stored, if its credential is there.
func (s *Service) isStored(ctx context.Context, object *v1alpha1.ApiToken) error {
	stored := &v1alpha1.ApiToken{}
	if err := s.config.Client.Get(ctx, client.ObjectKeyFromObject(object), stored); err != nil {
		return fmt.Errorf("look for what was written: %w", err)
	}
	if !hasDigest(stored, object.Spec.Credential.Digest) {
		return errors.New("it has another credential")
	}
	*object = *stored
	return nil
}

func hasDigest(t *v1alpha1.ApiToken, digest string) bool {
	return t.Spec.Credential != nil && t.Spec.Credential.Digest == digest
}
