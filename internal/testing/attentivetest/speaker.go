// Package attentivetest has an API server that can be made to lose its storage, as a real
// one can't be in the time that a test has.
package attentivetest

import (
	"fmt"
	"net/http"
	"path"
	"sync/atomic"
	"time"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// Speaker is the API server of an empty cluster. It does nothing but say, ten times a
// second, that nothing has changed; a real one does so once a minute.
type Speaker struct {
	// Lost says that its storage is: requests that need it are never answered.
	Lost atomic.Bool
	// Lists counts lists, and watches that begin with one; Reads counts lists of at most
	// one object, by which it shows that it reads its storage.
	Lists, Reads atomic.Int32
}

// ServeHTTP implements http.Handler.
func (s *Speaker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	watches, begins := query.Get("watch") != "", query.Get("sendInitialEvents") == "true"
	if s.Lost.Load() && (!watches || begins) {
		<-r.Context().Done()
		return
	}
	switch {
	case query.Get("limit") == "1":
		s.Reads.Add(1)
	case !watches || begins:
		s.Lists.Add(1)
	}
	of := resources[path.Base(r.URL.Path)]
	w.Header().Set("Content-Type", "application/json")
	if watches {
		of.speak(w, r, begins)
		return
	}
	_, _ = fmt.Fprintf(w, `{"apiVersion":%q,"kind":"%sList","metadata":{"resourceVersion":"1"},"items":[]}`, of.version, of.kind)
}

// speak sends bookmarks until the client has gone; the first ends a list, where one was
// asked for.
func (of resource) speak(w http.ResponseWriter, r *http.Request, begins bool) {
	annotations := "{}"
	if begins {
		annotations = `{"k8s.io/initial-events-end":"true"}`
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := fmt.Fprintf(w, `{"type":"BOOKMARK","object":{"apiVersion":%q,"kind":%q,"metadata":{"resourceVersion":"1","annotations":%s}}}`, of.version, of.kind, annotations)
		if err != nil {
			return // the client has gone
		}
		_ = http.NewResponseController(w).Flush()
		annotations = "{}"
		select {
		case <-r.Context().Done():
			return
		case <-tick.C:
		}
	}
}

// resource is what lists and watches are of.
type resource struct{ version, kind string }

var resources = map[string]resource{
	"secrets":    {"v1", "Secret"},
	"configmaps": {"v1", "ConfigMap"},
	"apitokens":  {v1alpha1.SchemeGroupVersion.String(), "ApiToken"},
	"tenants":    {v1alpha1.SchemeGroupVersion.String(), "Tenant"},
	"publicapis": {v1alpha1.SchemeGroupVersion.String(), "PublicApi"},
}
