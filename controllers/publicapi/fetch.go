package publicapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/document"
)

const (
	// fetchTimeout bounds a whole fetch, from the connection to the last byte.
	fetchTimeout = 10 * time.Second
	// retryInterval is how soon a failed fetch is tried again, where documents are
	// not fetched more often anyway.
	retryInterval = 15 * time.Second
	// maxHeaderBytes bounds the headers of a backend's answer.
	maxHeaderBytes = 64 << 10
)

// NewHTTPClient makes what fetches documents. It goes straight to the backend, and
// follows no redirect: what a document may come from is what the PublicApi says.
func NewHTTPClient() *http.Client {
	return &http.Client{
		Timeout: fetchTimeout,
		Transport: &http.Transport{
			DialContext:            (&net.Dialer{Timeout: fetchTimeout}).DialContext,
			MaxResponseHeaderBytes: maxHeaderBytes,
			DisableKeepAlives:      true, // the next fetch is minutes away
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// fetched is a backend's answer. Text is nil where the document has not changed.
type fetched struct {
	text               []byte
	etag, lastModified string
}

// documentURL is where the backend serves the document.
func documentURL(api *v1alpha1.PublicApi) string {
	backend := api.Spec.Backend
	if s := backend.Service; s != nil {
		return fmt.Sprintf("http://%s.%s.svc:%d%s", s.Name, s.Namespace, s.Port, api.Spec.OpenAPI.Path)
	}
	return strings.TrimSuffix(backend.URL, "/") + api.Spec.OpenAPI.Path
}

// fetch asks for the document at the URL, unless it is the one that is known.
func (r *Reconciler) fetch(ctx context.Context, from string, known *document.Document) (*fetched, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/vnd.oai.openapi+json, application/vnd.oai.openapi, application/json, application/yaml;q=0.9, */*;q=0.1")
	request.Header.Set("User-Agent", "latchkey-manager")
	if known != nil && known.Source != from {
		known = nil // its validators are another's
	}
	if known != nil {
		setUnlessEmpty(request.Header, "If-None-Match", known.ETag)
		setUnlessEmpty(request.Header, "If-Modified-Since", known.LastModified)
	}
	response, err := r.HTTP.Do(request)
	if err != nil {
		return nil, withoutURL(err)
	}
	defer response.Body.Close() //nolint:errcheck // read to its end, or given up
	switch {
	case response.StatusCode == http.StatusNotModified && known != nil:
		return &fetched{etag: known.ETag, lastModified: known.LastModified}, nil
	case response.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("the answer is %s", response.Status)
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, document.MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("the answer broke off after %d bytes: %w", len(text), withoutURL(err))
	}
	if len(text) > document.MaxBytes {
		return nil, fmt.Errorf("%w: more than %d bytes", document.ErrTooLarge, document.MaxBytes)
	}
	return &fetched{text: text, etag: header(response, "Etag"), lastModified: header(response, "Last-Modified")}, nil
}

// maxValidatorBytes bounds what is kept of a header of the backend's.
const maxValidatorBytes = 256

// header is a header that can be sent back, or empty.
func header(response *http.Response, name string) string {
	if value := response.Header.Get(name); len(value) <= maxValidatorBytes {
		return value
	}
	return ""
}

func setUnlessEmpty(h http.Header, name, value string) {
	if value != "" {
		h.Set(name, value)
	}
}

// withoutURL leaves out the method and URL that net/http puts first: the condition
// names the URL already.
func withoutURL(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}
