package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/policy"
	"github.com/latchkey-dev/latchkey/internal/token"
)

// tenantNamespaceHint says what to do about a namespace that is not a tenant's.
const tenantNamespaceHint = "pass -n " + v1alpha1.TenantNamespacePrefix + "<name>, see 'kubectl get tenants'"

// tenant is what a tenant's namespace tells its members, who can read neither
// the Tenant nor the PublicApi, and when it was read.
type tenant struct {
	name      string
	namespace string
	// prefix is what its tokens begin with.
	prefix string
	// host, origin and basePath are where its Public API is; empty until known.
	host, origin, basePath string
	// settingsPath is where, on that host, the Settings page is.
	settingsPath string
	// maxLifetime and defaultLifetime are the policy's; zero while unknown.
	maxLifetime, defaultLifetime time.Duration
	// maxOverlap is the policy's; nil while unknown.
	maxOverlap *time.Duration
	// scopes are those that a token may be given; nil while unknown.
	scopes []v1alpha1.Scope
	// now is when all this was read, by the API server's clock.
	now time.Time
}

// tenant reads the session's namespace.
func (s *session) tenant(ctx context.Context) (*tenant, error) {
	ctx, date := withServerDate(ctx)
	namespace := &corev1.Namespace{}
	if err := s.client.Get(ctx, client.ObjectKey{Name: s.namespace}, namespace); err != nil {
		return nil, request{verb: "get", resource: namespaces, name: s.namespace}.explain(err)
	}
	now, err := date.Time()
	if err != nil {
		return nil, fmt.Errorf("read the API server's clock: %w", err)
	}
	return tenantOf(namespace, now)
}

func tenantOf(namespace *corev1.Namespace, now time.Time) (*tenant, error) {
	annotations := namespace.Annotations
	t := &tenant{
		name:      annotations[v1alpha1.AnnotationTenant],
		namespace: namespace.Name,
		prefix:    annotations[v1alpha1.AnnotationTokenPrefix],
		host:      annotations[v1alpha1.AnnotationHost],
		origin:    annotations[v1alpha1.AnnotationOrigin],
		basePath:  annotations[v1alpha1.AnnotationBasePath],
		now:       now,

		settingsPath: cmp.Or(annotations[v1alpha1.AnnotationSettingsPath], settingsPath),
	}
	if t.name == "" {
		return nil, fmt.Errorf("namespace %q is not a tenant's namespace: %s", t.namespace, tenantNamespaceHint)
	}
	if t.prefix == "" {
		t.prefix = v1alpha1.DefaultTokenPrefix
	}
	// These only spare the user a refusal by the manager, which knows
	// the policy itself: without them, it speaks.
	t.maxLifetime, _ = time.ParseDuration(annotations[v1alpha1.AnnotationMaxLifetime])
	t.defaultLifetime, _ = time.ParseDuration(annotations[v1alpha1.AnnotationDefaultLifetime])
	if overlap, err := time.ParseDuration(annotations[v1alpha1.AnnotationMaxOverlap]); err == nil {
		t.maxOverlap = &overlap
	}
	// Nor do the scopes decide anything: one that can't be read is one unknown.
	_ = json.Unmarshal([]byte(annotations[v1alpha1.AnnotationScopes]), &t.scopes)
	return t, t.validate()
}

var (
	originPattern   = regexp.MustCompile(`^(https?://[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?)?$`)
	hostPattern     = regexp.MustCompile(`^([a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?)?$`)
	basePathPattern = regexp.MustCompile(`^(/[0-9A-Za-z._~-]+)*/?$`)
)

// validate refuses annotations that nothing good can have written. Host and path
// become a line that the user is told to run.
func (t *tenant) validate() error {
	for _, a := range []struct {
		name, value string
		valid       bool
	}{
		{v1alpha1.AnnotationTenant, t.name, len(validation.IsDNS1123Label(t.name)) == 0},
		{v1alpha1.AnnotationTokenPrefix, t.prefix, token.ValidatePrefix(t.prefix) == nil},
		{v1alpha1.AnnotationHost, t.host, hostPattern.MatchString(t.host)},
		{v1alpha1.AnnotationOrigin, t.origin, originPattern.MatchString(t.origin)},
		{v1alpha1.AnnotationBasePath, t.basePath, basePathPattern.MatchString(t.basePath)},
		{v1alpha1.AnnotationSettingsPath, t.settingsPath, basePathPattern.MatchString(t.settingsPath)},
	} {
		if !a.valid {
			return fmt.Errorf("namespace %q has the annotation %s with the unusable value %q: is Latchkey's manager running, which keeps it right?",
				t.namespace, a.name, a.value)
		}
	}
	return nil
}

// expiry is when a credential minted now for spec will expire, if nothing
// shortens it; zero if that depends on a policy that isn't known here.
func (t *tenant) expiry(spec *v1alpha1.ApiTokenSpec) time.Time {
	switch {
	case spec.ExpiresAt != nil:
		return spec.ExpiresAt.UTC()
	case spec.Lifetime != nil:
		return t.now.Add(spec.Lifetime.Duration)
	case t.defaultLifetime > 0:
		return t.now.Add(t.defaultLifetime)
	default:
		return time.Time{}
	}
}

// permits refuses what the manager would refuse, before a token is minted for it.
func (t *tenant) permits(spec *v1alpha1.ApiTokenSpec) error {
	if overlap := policy.Overlap(spec); t.maxOverlap != nil && overlap > *t.maxOverlap {
		return fmt.Errorf("the overlap is %s: the token policy permits at most %s", overlap, *t.maxOverlap)
	}
	expiry := t.expiry(spec)
	switch {
	case expiry.IsZero():
		return nil
	case !expiry.After(t.now):
		return fmt.Errorf("the token would have expired already, at %s: by the API server's clock it is %s",
			expiry.Format(time.RFC3339), t.now.Format(time.RFC3339))
	case t.maxLifetime > 0 && expiry.Sub(t.now) > t.maxLifetime:
		return fmt.Errorf("the token would work until %s, for %s: the token policy permits at most %s",
			expiry.Format(time.RFC3339), duration.HumanDuration(expiry.Sub(t.now)), duration.HumanDuration(t.maxLifetime))
	default:
		return nil
	}
}

// curl is the line to try a token with, as the documentation has it; empty while
// the host is unknown. It never holds a token.
func (t *tenant) curl() string {
	if t.host == "" {
		return ""
	}
	return fmt.Sprintf(`curl -X GET "%sexample_endpoint" -H "Authorization: token YOUR_API_TOKEN"`, t.base())
}

// base is the address below which the Public API is, with a slash at its end.
func (t *tenant) base() string {
	path := basePathPattern.FindString(t.basePath)
	if path == "" || path[len(path)-1] != '/' {
		path += "/"
	}
	return cmp.Or(t.origin, "https://"+t.host) + path
}

// settings is the address of the Settings page. Browsers keep its session over https
// only, but for this machine itself.
func (t *tenant) settings() (*url.URL, error) {
	if t.origin == "" && t.host == "" {
		return nil, fmt.Errorf("namespace %q does not say yet where its Settings page is: has its Tenant a PublicApi?", t.namespace)
	}
	page, err := url.Parse(cmp.Or(t.origin, "https://"+t.host) + t.settingsPath)
	if err != nil {
		return nil, fmt.Errorf("the address of the Settings page of namespace %q: %w", t.namespace, err)
	}
	if page.Scheme != "https" && !isLoopback(page.Hostname()) {
		return nil, fmt.Errorf("the Settings page of tenant %q is at %s: a browser keeps no session there, which takes https", t.name, page)
	}
	return page, nil
}
