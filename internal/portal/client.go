package portal

import (
	"io"
	"net/http"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/fairqueue"
	"github.com/latchkey-dev/latchkey/internal/portal/tokens"
	"github.com/latchkey-dev/latchkey/internal/serverdate"
)

// requestsPerSecond and requestsBurst bound what a portal asks the Kubernetes API.
const requestsPerSecond, requestsBurst = 100, 200

// NewClient makes a portal's client. It knows the three kinds that the portal
// needs, so that it has nothing to discover.
func NewClient(config *rest.Config) (client.Client, error) {
	config = rest.CopyConfig(config)
	config.Wrap(serverdate.Record)
	// Of all tenants together, who take turns; the API server's own fairness comes on top, and
	// takes all of them for one.
	config.RateLimiter = fairqueue.New(requestsPerSecond, requestsBurst, clock.RealClock{})
	config.Wrap(boundAnswers)
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, authenticationv1.AddToScheme, authorizationv1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	mapper := meta.NewDefaultRESTMapper(nil)
	for gv, kinds := range map[schema.GroupVersion]map[string]meta.RESTScope{
		v1alpha1.SchemeGroupVersion:         {"ApiToken": meta.RESTScopeNamespace},
		authenticationv1.SchemeGroupVersion: {"TokenReview": meta.RESTScopeRoot},
		authorizationv1.SchemeGroupVersion:  {"SubjectAccessReview": meta.RESTScopeRoot},
	} {
		for kind, scope := range kinds {
			mapper.Add(gv.WithKind(kind), scope)
		}
	}
	return client.New(config, client.Options{Scheme: scheme, Mapper: mapper})
}

// maxAnswer bounds an answer of the Kubernetes API: while it is decoded it takes three times
// its size. An ApiToken is at most 1.5 MiB, which is all that etcd takes, so that one always
// fits.
const maxAnswer = 8 << 20

// boundAnswers refuses answers that would take too much memory, as a page of ApiTokens does
// that somebody padded.
func boundAnswers(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		response, err := next.RoundTrip(r)
		if err == nil {
			response.Body = &boundedBody{ReadCloser: response.Body, left: maxAnswer}
		}
		return response, err
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// boundedBody fails with tokens.ErrAnswerTooLarge once it has given all that it may.
type boundedBody struct {
	io.ReadCloser
	left int64
}

// Read implements io.Reader.
func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, tokens.ErrAnswerTooLarge
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left+1)])
	if b.left -= int64(n); b.left < 0 {
		return 0, tokens.ErrAnswerTooLarge
	}
	return n, err
}
