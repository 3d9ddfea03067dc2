package publicapi

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/document"
	"github.com/latchkey-dev/latchkey/internal/openapi"
	"github.com/latchkey-dev/latchkey/internal/openapi/check"
	"github.com/latchkey-dev/latchkey/internal/portal/tokenapi"
)

// failure says in a condition why the document is not current. The last good one
// stays in use.
type failure struct{ reason, message string }

func (f *failure) Error() string { return f.reason + ": " + f.message }

// reconcileDocument reads the document where that is due, and puts it into use if it
// is good.
func (r *Reconciler) reconcileDocument(ctx context.Context, s *scope) error {
	err := r.refreshDocument(ctx, s)
	if failed, ok := errors.AsType[*failure](err); ok {
		s.set(r.Clock.Now(), v1alpha1.ConditionDocumentCurrent, false, failed.reason, failed.message+" "+inUse(s.status.Document))
		return nil
	}
	return err
}

func inUse(d *v1alpha1.Document) string {
	if d == nil {
		return "There is no earlier document: requests are answered 503."
	}
	return "The last good document, " + d.Digest + ", stays in use."
}

func (r *Reconciler) refreshDocument(ctx context.Context, s *scope) error {
	stored, err := r.storedDocument(ctx, s.api)
	if s.api.Spec.OpenAPI == nil {
		s.forgetDocument()
		r.seen.forget(s.api.UID)
		if _, foreign := errors.AsType[*failure](err); foreign {
			return nil
		}
		return errors.Join(err, r.deleteDocument(ctx, stored))
	}
	if err != nil {
		s.status.Document = nil // a foreign ConfigMap keeps none
		return err
	}
	var known *document.Document
	if stored != nil {
		known, _ = document.Decode(stored) // one that somebody spoiled is as good as none
	}
	if known == nil {
		s.status.Document = nil // until it is stored again
	}
	read, err := r.readDocument(ctx, s, known)
	if err != nil {
		return err
	}
	v := r.judge(s.api, read)
	if v.failed != nil {
		return v.failed
	}
	if err := r.storeDocument(ctx, s.api, stored, known, read); errors.Is(err, document.ErrTooLarge) {
		return &failure{v1alpha1.ReasonDocumentInvalid, fmt.Sprintf("%s: %v.", read.Source, err)}
	} else if err != nil {
		return err
	}
	s.status.Document = v.document
	s.set(r.Clock.Now(), v1alpha1.ConditionDocumentCurrent, true, v1alpha1.ReasonDocumentLoaded, v.message)
	return nil
}

// readDocument gets the document from where the PublicApi says it is.
func (r *Reconciler) readDocument(ctx context.Context, s *scope, known *document.Document) (*document.Document, error) {
	if s.api.Spec.OpenAPI.ConfigMap != nil {
		return r.readConfigMap(ctx, s.api)
	}
	return r.readBackend(ctx, s, known)
}

func (r *Reconciler) readConfigMap(ctx context.Context, api *v1alpha1.PublicApi) (*document.Document, error) {
	reference := api.Spec.OpenAPI.ConfigMap
	source := &corev1.ConfigMap{}
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: r.SystemNamespace, Name: reference.Name}, source)
	if apierrors.IsNotFound(err) {
		return nil, &failure{v1alpha1.ReasonDocumentNotFound,
			fmt.Sprintf("ConfigMap %s does not exist in namespace %s.", reference.Name, r.SystemNamespace)}
	}
	if err != nil {
		return nil, fmt.Errorf("ConfigMap %s/%s: %w", r.SystemNamespace, reference.Name, err)
	}
	text, ok := source.BinaryData[reference.Key]
	if plain, found := source.Data[reference.Key]; !ok && found {
		text, ok = []byte(plain), true
	}
	if !ok {
		return nil, &failure{v1alpha1.ReasonDocumentNotFound,
			fmt.Sprintf("ConfigMap %s in namespace %s has no key %s.", reference.Name, r.SystemNamespace, reference.Key)}
	}
	return &document.Document{
		PublicApi: api.Name, Text: text, Source: fmt.Sprintf("ConfigMap %s, key %s", reference.Name, reference.Key),
	}, nil
}

// readBackend fetches the document once in refreshInterval, sooner after a failure,
// and at once where the spec has changed.
func (r *Reconciler) readBackend(ctx context.Context, s *scope, known *document.Document) (*document.Document, error) {
	now, last := r.Clock.Now(), r.seen.of(s.api.UID)
	if last.generation == s.api.Generation && now.Before(last.due) {
		s.next = last.due.Sub(now)
		return last.result()
	}
	from := documentURL(s.api)
	answer, err := r.fetch(ctx, from, known)
	s.next = refreshInterval(s.api.Spec.OpenAPI)
	last.generation, last.read, last.failed = s.api.Generation, nil, nil
	if err != nil {
		s.next = min(s.next, retryInterval)
		last.failed = &failure{v1alpha1.ReasonDocumentFetchFailed, fmt.Sprintf("%s: %v.", from, err)}
	} else {
		if answer.text == nil {
			answer.text = known.Text
		}
		last.read = &document.Document{PublicApi: s.api.Name, Text: answer.text, Source: from, ETag: answer.etag, LastModified: answer.lastModified}
	}
	last.due = now.Add(s.next)
	r.seen.note(s.api.UID, last)
	return last.result()
}

// defaultRefreshInterval is that of the CRD.
const defaultRefreshInterval = 5 * time.Minute

func refreshInterval(o *v1alpha1.OpenAPI) time.Duration {
	if o.RefreshInterval == nil {
		return defaultRefreshInterval
	}
	return o.RefreshInterval.Duration
}

// verdict is what was found about a text for a generation of its PublicApi.
type verdict struct {
	generation int64
	digest     string
	// failed says why the text can't be used; else document and message describe it.
	failed   *failure
	document *v1alpha1.Document
	message  string
}

// judge says whether a document can be used. The same one is not checked twice.
func (r *Reconciler) judge(api *v1alpha1.PublicApi, read *document.Document) verdict {
	digest, last := document.Digest(read.Text), r.seen.of(api.UID)
	if last.verdict.generation == api.Generation && last.verdict.digest == digest {
		return last.verdict
	}
	v := verdict{generation: api.Generation, digest: digest}
	parsed, findings, err := inspect(api, read.Text)
	if err != nil {
		v.failed = &failure{v1alpha1.ReasonDocumentInvalid, fmt.Sprintf("%s: %v.", read.Source, err)}
	} else {
		v.document = describe(api, digest, parsed)
		v.message = fmt.Sprintf("%d operations, read from %s.", v.document.Operations, read.Source)
		if len(findings) > 0 {
			v.message += " Not served as written: " + strings.Join(findings, " ")
		}
	}
	last.verdict = v
	r.seen.note(api.UID, last)
	return v
}

// inspect reads a document as the API server will, once it has passed the check that
// the API server leaves to the manager. Findings are what can't be served as it is.
func inspect(api *v1alpha1.PublicApi, text []byte) (parsed *openapi.Document, findings []string, err error) {
	if err := check.Check(text); err != nil {
		return nil, nil, err
	}
	if parsed, err = openapi.Load(text); err != nil {
		return nil, nil, err
	}
	_, findings = parsed.Publish(openapi.Options{
		BasePath: api.Spec.BasePath, TokenAPI: tokenapi.Document, AllowAnonymous: api.Spec.OpenAPI.AllowAnonymousOperations,
	})
	if slices.ContainsFunc(parsed.Scopes, func(s openapi.Scope) bool { return s.Name == v1alpha1.ScopeSettings }) {
		findings = append(findings, "No token has the scope "+v1alpha1.ScopeSettings+" that operations name: it is Latchkey's own, for signing in on the Settings page. Choose another name.")
	}
	return parsed, findings, nil
}

func describe(api *v1alpha1.PublicApi, digest string, parsed *openapi.Document) *v1alpha1.Document {
	d := &v1alpha1.Document{
		ConfigMap: document.Name(api.Name), Digest: digest,
		Title: shortened(parsed.Title), Version: shortened(parsed.Version),
		Operations: int32(len(parsed.Served(api.Spec.BasePath))), //nolint:gosec // openapi.Load bounds them
	}
	for _, scope := range parsed.Scopes {
		d.Scopes = append(d.Scopes, v1alpha1.Scope{Name: scope.Name, Description: shortened(scope.Description)})
	}
	return d
}

// shortened is a text as long as status takes it.
func shortened(text string) string {
	const limit = 256
	if runes := []rune(text); len(runes) > limit {
		return string(runes[:limit-1]) + "…"
	}
	return text
}

// memory is what the controller remembers of documents between reconciliations. It
// is lost with the process, which then reads and checks every document once.
type memory struct {
	mu   sync.Mutex
	apis map[types.UID]remembered
}

type remembered struct {
	// generation is the one for which the document was fetched last, and due when it is
	// to be fetched again.
	generation int64
	due        time.Time
	// read is what was fetched, or failed why nothing was. It is kept until then, so
	// that a write that fails is tried again with it.
	read    *document.Document
	failed  *failure
	verdict verdict
}

func (r *remembered) result() (*document.Document, error) {
	if r.failed != nil {
		return nil, r.failed
	}
	return r.read, nil
}

func (m *memory) of(uid types.UID) remembered {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.apis[uid]
}

func (m *memory) note(uid types.UID, r remembered) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.apis == nil {
		m.apis = map[types.UID]remembered{}
	}
	m.apis[uid] = r
}

func (m *memory) forget(uid types.UID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.apis, uid)
}

// forgetDeleted forgets the PublicApis that are gone: nobody asks for them to be
// reconciled.
func (r *Reconciler) forgetDeleted(ctx context.Context) error {
	var apis v1alpha1.PublicApiList
	if err := r.Client.List(ctx, &apis, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("list PublicApis: %w", err)
	}
	exists := map[types.UID]bool{}
	for i := range apis.Items {
		exists[apis.Items[i].UID] = true
	}
	r.seen.mu.Lock()
	defer r.seen.mu.Unlock()
	maps.DeleteFunc(r.seen.apis, func(uid types.UID, _ remembered) bool { return !exists[uid] })
	return nil
}
