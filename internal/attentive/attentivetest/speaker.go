// Package attentivetest has an API server that can be made to lose its storage, as a real
// one can't be in the time that a test has.
package attentivetest

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// Speaker is the API server of an empty cluster. It does nothing but say, ten times a
// second, that nothing has changed; a real one does so once a minute.
type Speaker struct {
	// Lost says that its storage is: what has to read it never is answered.
	Lost atomic.Bool
	// Reads are the lists of at most one object, which show that it reads its storage.
	Reads atomic.Int32
}

// ServeHTTP implements http.Handler.
func (s *Speaker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	watches, begins := query.Get("watch") != "", query.Get("sendInitialEvents") == "true"
	if s.Lost.Load() && (!watches || begins) {
		<-r.Context().Done()
		return
	}
	version, kind := typeOf(r.URL.Path)
	w.Header().Set("Content-Type", "application/json")
	if watches {
		speak(w, r, version, kind, begins)
		return
	}
	if query.Get("limit") == "1" {
		s.Reads.Add(1)
	}
	fmt.Fprintf(w, `{"apiVersion":%q,"kind":"%sList","metadata":{"resourceVersion":"1"},"items":[]}`, version, kind)
}

// speak sends bookmarks until the client has gone; the first ends a list, where one was
// asked for.
func speak(w http.ResponseWriter, r *http.Request, version, kind string, begins bool) {
	annotations := "{}"
	if begins {
		annotations = `{"k8s.io/initial-events-end":"true"}`
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		fmt.Fprintf(w, `{"type":"BOOKMARK","object":{"apiVersion":%q,"kind":%q,"metadata":{"resourceVersion":"1","annotations":%s}}}`, version, kind, annotations)
		_ = http.NewResponseController(w).Flush()
		annotations = "{}"
		select {
		case <-r.Context().Done():
			return
		case <-tick.C:
		}
	}
}

// typeOf is what a path of the Kubernetes API is about, such as
// /apis/latchkey.dev/v1alpha1/tenants.
func typeOf(path string) (version, kind string) {
	kinds := map[string]string{"secrets": "Secret", "configmaps": "ConfigMap", "apitokens": "ApiToken", "tenants": "Tenant", "publicapis": "PublicApi"}
	parts := strings.Split(strings.Trim(path, "/"), "/")
	if version = parts[1]; parts[0] == "apis" {
		version += "/" + parts[2]
	}
	return version, kinds[parts[len(parts)-1]]
}
