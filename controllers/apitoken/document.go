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

// callable is how many operations of the document a token with the scopes may call,
// or nil where there is no document.
func callable(d *openapi.Document, scopes []string) *int32 {
	if d == nil {
		return nil
	}
	count := int32(0)
	for _, o := range d.Operations {
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
