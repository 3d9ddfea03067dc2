package directory

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/latchkey-dev/latchkey/internal/document"
	"github.com/latchkey-dev/latchkey/internal/openapi"
)

// storedDocument is a PublicApi's OpenAPI document, made ready for requests as it
// arrives. document is nil where there is none.
type storedDocument struct {
	publicApi string
	document  *openapi.Document
	routes    *openapi.Matcher
}

// shrinkDocument leaves one that can't be read without a document: what needs it is
// closed until the manager has mended it.
func (d *Directory) shrinkDocument(c *corev1.ConfigMap) *storedDocument {
	stored := &storedDocument{publicApi: document.PublicApiOf(c)}
	decoded, err := document.Decode(c)
	if err == nil {
		stored.document, err = openapi.Load(decoded.Text)
	}
	if err != nil {
		d.logger.Error("OpenAPI document ignored", "configMap", c.Name, "error", err)
		return stored
	}
	stored.routes = stored.document.Matcher()
	return stored
}

// attach gives an API its document; s may be nil.
func (a *API) attach(s *storedDocument) {
	a.Document, a.Routes = nil, nil
	if s != nil && a.NeedsDocument {
		a.Document, a.Routes = s.document, s.routes
	}
}

func (d *Directory) setDocument(s *storedDocument) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.documents[s.publicApi] = s
	if s.document == nil {
		delete(d.documents, s.publicApi)
	}
	d.reattach(s.publicApi)
}

func (d *Directory) replaceDocuments(list []*storedDocument) {
	d.mu.Lock()
	defer d.mu.Unlock()
	before := d.documents
	d.documents = make(map[string]*storedDocument, len(list))
	for _, s := range list {
		if s.document != nil {
			d.documents[s.publicApi] = s
		}
		d.reattach(s.publicApi)
	}
	for name := range before {
		d.reattach(name)
	}
}

// reattach lets requests see the document that a PublicApi has now. The API that
// requests under way hold stays as it is. The caller holds the lock.
func (d *Directory) reattach(publicApi string) {
	current, ok := d.apis.get(publicApi)
	if !ok {
		return
	}
	changed := *current
	changed.attach(d.documents[publicApi])
	d.apis.set(publicApi, &changed)
}
