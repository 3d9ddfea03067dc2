package portal_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/testing/browsertest"
)

// A customer opens the documentation on his host, tries an operation with a token
// that he was issued, and sees his own data; with a wrong one he sees what is wrong.
// Nothing in between is a stand-in but the product's backend.
func TestDocumentationInABrowser(t *testing.T) {
	i := installAt(t, site{"localhost", "http"}, publish(t, strings.Replace(openDocument, "/orders: {get: {", "/orders: {get: {operationId: listOrders, ", 1)))
	i.awaitDocument()
	caller := i.make("acme", "caller", v1alpha1.ApiTokenSpec{Scopes: manages, Lifetime: lifetime(time.Hour)})
	customers := i.call("acme", http.MethodPost, tokens, caller, `{"name":"customers","scopes":["orders:read"]}`).issued(i, http.StatusCreated).Plaintext

	const listOrders = `#viewer [id$="-listOrders"]`
	p := browsertest.Open(t, strings.Replace(i.front.URL, "127.0.0.1", "acme.localhost", 1)+"/docs", browsertest.Options{})
	p.Wait("document.querySelector(`" + listOrders + "`)")
	p.Click(listOrders + " .opblock-summary-control")
	p.Wait("document.querySelector(`" + listOrders + " .try-out__btn`)")
	p.Click(listOrders + " .try-out__btn")
	execute := func(token string, status int) (seen string) {
		t.Helper()
		p.Click("#api-token-forget")
		p.Type("#api-token", token)
		p.Click(listOrders + " .execute")
		p.Wait(fmt.Sprintf("document.querySelector(`%s .live-responses-table tbody .response-col_status`)?.innerText.startsWith(`%d`)", listOrders, status))
		p.WantAccessible()
		return p.Text(listOrders)
	}

	if seen := execute(customers, http.StatusOK); !strings.Contains(seen, `"tenant": "acme"`) || strings.Contains(seen, customers) {
		t.Errorf("want the tenant's data, and not the token:\n%s", seen)
	}
	execute(customers[:len(customers)-1]+"!", http.StatusUnauthorized)
	p.Wait(`document.querySelector("#viewer [role=alert]")`)
	for _, want := range []string{"The API token is not valid", "Check that it was copied whole"} {
		if advice := p.Text("#viewer [role=alert]"); !strings.Contains(advice, want) {
			t.Errorf("the advice is %q, want %q", advice, want)
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.reached) != 1 {
		t.Errorf("the backend was reached %d times, want once", len(i.reached))
	}
}
