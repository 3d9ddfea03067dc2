package apitoken

import (
	"context"
	"fmt"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/document"
	"github.com/latchkey-dev/latchkey/internal/openapi"
)

// documents are the PublicApis' OpenAPI documents, parsed once for all their tokens.
type documents struct {
	mu     sync.Mutex
	parsed map[string]parsedDocument
}

type parsedDocument struct {
	digest   string
	document *openapi.Document
}

// operationsOf are the operations that are served by the document which a PublicApi's
// status names; without one, ok is false.
func (r *Reconciler) operationsOf(ctx context.Context, api *v1alpha1.PublicApi) (served []*openapi.Operation, ok bool, err error) {
	d, err := r.documentOf(ctx, api)
	if err != nil || d == nil {
		return nil, false, err
	}
	return d.Served(api.Spec.BasePath), true, nil
}

// documentOf is the document that a PublicApi's status names, or nil. A cache that
// does not show it yet is an error: what is counted by another document would have to
// be written again.
func (r *Reconciler) documentOf(ctx context.Context, api *v1alpha1.PublicApi) (*openapi.Document, error) {
	named := api.Status.Document
	if api.Spec.OpenAPI == nil || named == nil {
		return nil, nil
	}
	r.documents.mu.Lock()
	defer r.documents.mu.Unlock()
	if known, ok := r.documents.parsed[named.ConfigMap]; ok && known.digest == named.Digest {
		return known.document, nil
	}
	stored := &corev1.ConfigMap{}
	key := client.ObjectKey{Namespace: r.SystemNamespace, Name: named.ConfigMap}
	if err := r.Client.Get(ctx, key, stored); err != nil {
		return nil, fmt.Errorf("OpenAPI document of PublicApi %s: %w", api.Name, err)
	}
	decoded, err := document.Decode(stored)
	if err != nil {
		return nil, fmt.Errorf("OpenAPI document of PublicApi %s: %w", api.Name, err)
	}
	if digest := document.Digest(decoded.Text); digest != named.Digest {
		return nil, fmt.Errorf("OpenAPI document of PublicApi %s: the cache has %s, not yet %s", api.Name, digest, named.Digest)
	}
	parsed, err := openapi.Load(decoded.Text)
	if err != nil {
		return nil, fmt.Errorf("OpenAPI document of PublicApi %s: %w", api.Name, err)
	}
	if r.documents.parsed == nil {
		r.documents.parsed = map[string]parsedDocument{}
	}
	r.documents.parsed[named.ConfigMap] = parsedDocument{named.Digest, parsed}
	return parsed, nil
}

// callable is how many of the operations a token with the scopes may call.
func callable(operations []*openapi.Operation, scopes []string) *int32 {
	count := int32(0)
	for _, o := range operations {
		if permits(o, scopes) {
			count++
		}
	}
	return &count
}

func permits(o *openapi.Operation, scopes []string) bool {
	has := func(needed []string) bool {
		return !slices.ContainsFunc(needed, func(scope string) bool { return !slices.Contains(scopes, scope) })
	}
	return len(o.Scopes) == 0 || slices.ContainsFunc(o.Scopes, has)
}
