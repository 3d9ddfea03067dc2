package examplebackend

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const ordersPath = "/api/v1/orders"

func (a api) create(as identity, body string) order {
	a.t.Helper()
	got := a.call(as, "POST", ordersPath, body)
	a.want(got, http.StatusCreated)
	return decode[order](a.t, got.body)
}

// pages returns the orders page by page. Before each page but the first, it calls
// between.
func (a api) pages(as identity, limit int, between func()) [][]order {
	a.t.Helper()
	var pages [][]order
	for token := ""; ; {
		page := get[orderPage](a, as, fmt.Sprintf("%s?limit=%d&pageToken=%s", ordersPath, limit, url.QueryEscape(token)))
		pages = append(pages, page.Items)
		if page.NextPageToken == "" {
			return pages
		}
		if len(pages) > maxOrders {
			a.t.Fatal("there is always a next page")
		}
		token = page.NextPageToken
		between()
	}
}

func ids(orders []order) []string {
	var all []string
	for _, o := range orders {
		all = append(all, o.ID)
	}
	return all
}

func TestSeedsAreDeterministicAndDifferent(t *testing.T) {
	first, second := newAPI(t), newAPI(t)
	body := first.call(acme, "GET", ordersPath, "").body
	if again := second.call(acme, "GET", ordersPath, "").body; again != body {
		t.Errorf("two backends differ:\n%s%s", body, again)
	}
	ours, theirs := ids(get[orderPage](first, acme, ordersPath).Items), ids(get[orderPage](first, globex, ordersPath).Items)
	if len(ours) < 3 || len(theirs) < 3 {
		t.Errorf("acme has %d orders, globex %d", len(ours), len(theirs))
	}
	for _, id := range ours {
		if slices.Contains(theirs, id) {
			t.Errorf("both tenants have %s", id)
		}
	}
}

func TestOrderLife(t *testing.T) {
	a := newAPI(t)
	got := a.call(acme, "POST", ordersPath, `{"customer":"Grace <b>","item":"Notebook","quantity":2}`)
	a.want(got, http.StatusCreated)
	created := decode[order](t, got.body)
	want := order{
		ID:          created.ID,
		orderFields: orderFields{Customer: "Grace <b>", Item: "Notebook", Quantity: 2, Status: "open"},
		CreatedAt:   start,
		UpdatedAt:   start,
	}
	if created != want {
		t.Errorf("created %+v, want %+v", created, want)
	}
	path := got.header.Get("Location")
	if path != ordersPath+"/"+created.ID {
		t.Fatalf("Location = %q", path)
	}
	if read := get[order](a, acme, path); read != created {
		t.Errorf("read %+v, created %+v", read, created)
	}

	got = a.call(acme, "PUT", path, `{"customer":"Grace","item":"Notebook","quantity":3,"status":"shipped"}`)
	a.want(got, http.StatusOK)
	want.orderFields = orderFields{Customer: "Grace", Item: "Notebook", Quantity: 3, Status: "shipped"}
	want.UpdatedAt = start.Add(time.Second)
	if replaced := decode[order](t, got.body); replaced != want {
		t.Errorf("replaced %+v, want %+v", replaced, want)
	}
	if read := get[order](a, acme, path); read != want {
		t.Errorf("read %+v, want %+v", read, want)
	}

	got = a.call(acme, "DELETE", path, "")
	a.want(got, http.StatusNoContent)
	if got.body != "" {
		t.Errorf("body of a deletion = %q", got.body)
	}
	a.wantProblem(a.call(acme, "DELETE", path, ""), http.StatusNotFound, "no such order")
	a.wantProblem(a.call(acme, "GET", path, ""), http.StatusNotFound, "no such order")
	if next := a.create(acme, `{"customer":"Grace","item":"Notebook","quantity":2}`); next.ID == created.ID {
		t.Errorf("the id %s was given twice", next.ID)
	}
}

func TestTenantsAreIsolated(t *testing.T) {
	a := newAPI(t)
	const body = `{"customer":"Mallory","item":"Crowbar","quantity":1}`
	before := a.call(acme, "GET", ordersPath, "").body
	for _, o := range get[orderPage](a, acme, ordersPath).Items {
		path := ordersPath + "/" + o.ID
		a.wantProblem(a.call(globex, "GET", path, ""), http.StatusNotFound, "no such order")
		a.wantProblem(a.call(globex, "PUT", path, body), http.StatusNotFound, "no such order")
		a.wantProblem(a.call(globex, "DELETE", path, ""), http.StatusNotFound, "no such order")
	}
	a.create(globex, body)
	if after := a.call(acme, "GET", ordersPath, "").body; after != before {
		t.Errorf("acme's orders changed from %s to %s", before, after)
	}
}

func TestPagingGoesThroughAll(t *testing.T) {
	a := newAPI(t)
	for i := range 45 {
		a.create(acme, fmt.Sprintf(`{"customer":"Ada","item":"Pen %d","quantity":1}`, i))
	}
	total := get[exampleAnswer](a, acme, "/api/v1/example_endpoint").Orders
	if got := len(get[orderPage](a, acme, ordersPath).Items); got != defaultPageSize {
		t.Errorf("a page without limit has %d orders", got)
	}
	for _, limit := range []int{1, 7, total / 2, total - 1, total, maxPageSize} {
		pages := a.pages(acme, limit, func() {})
		if want := (total + limit - 1) / limit; len(pages) != want {
			t.Errorf("limit %d: %d pages of %d orders, want %d", limit, len(pages), total, want)
		}
		all := slices.Concat(pages...)
		unique := slices.Compact(slices.Sorted(slices.Values(ids(all))))
		if len(all) != total || len(unique) != total {
			t.Errorf("limit %d: %d orders, %d unique, want %d", limit, len(all), len(unique), total)
		}
		if !slices.IsSortedFunc(all, func(x, y order) int { return x.CreatedAt.Compare(y.CreatedAt) }) {
			t.Errorf("limit %d: not in order of creation", limit)
		}
	}
}

// Orders that come and go between pages neither hide nor repeat others.
func TestPagingStandsChanges(t *testing.T) {
	a := newAPI(t)
	before := ids(get[orderPage](a, acme, ordersPath).Items)
	var changed bool
	var added string
	pages := a.pages(acme, 2, func() {
		if changed {
			return
		}
		changed = true
		// The page token stands for the second of these.
		a.want(a.call(acme, "DELETE", ordersPath+"/"+before[0], ""), http.StatusNoContent)
		a.want(a.call(acme, "DELETE", ordersPath+"/"+before[1], ""), http.StatusNoContent)
		added = a.create(acme, `{"customer":"Ada","item":"Pen","quantity":1}`).ID
	})
	if got, want := ids(slices.Concat(pages...)), append(before, added); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestEmptyListIsAList(t *testing.T) {
	a := newAPI(t)
	for _, id := range ids(get[orderPage](a, acme, ordersPath).Items) {
		a.want(a.call(acme, "DELETE", ordersPath+"/"+id, ""), http.StatusNoContent)
	}
	if got := a.call(acme, "GET", ordersPath, ""); got.body != `{"items":[],"nextPageToken":""}`+"\n" {
		t.Errorf("got %s", got.body)
	}
}

func TestInvalidQueries(t *testing.T) {
	a := newAPI(t)
	tests := []struct{ query, words string }{
		{"limit=0", "from 1 to 100"},
		{"limit=101", "from 1 to 100"},
		{"limit=", "from 1 to 100"},
		{"limit=many", `not "many"`},
		{"pageToken=!", "leave it out"},
		{"pageToken=MQ==", "leave it out"},
		{"pageToken=eA", "leave it out"},
	}
	for _, tt := range tests {
		a.wantProblem(a.call(acme, "GET", ordersPath+"?"+tt.query, ""), http.StatusBadRequest, tt.words)
	}
}

func TestUnreadableBodies(t *testing.T) {
	a := newAPI(t)
	order := `{"customer":"Ada","item":"Pen","quantity":1}`
	tests := []struct {
		name, body string
		status     int
		words      string
	}{
		{"empty", "", http.StatusBadRequest, "empty"},
		{"no JSON", "customer=Ada", http.StatusBadRequest, "invalid character"},
		{"cut", order[:20], http.StatusBadRequest, "unexpected EOF"},
		{"two orders", order + order, http.StatusBadRequest, "more after the order"},
		{"rubbish after it", order + "}", http.StatusBadRequest, "invalid character"},
		{"unknown member", `{"customer":"Ada","item":"Pen","quantity":1,"price":1}`, http.StatusBadRequest, `unknown field "price"`},
		{"too large", `{"customer":"` + strings.Repeat("a", maxBodyBytes) + `"}`, http.StatusRequestEntityTooLarge, "65536 bytes"},
		{"too large after it", order + strings.Repeat(" ", maxBodyBytes), http.StatusRequestEntityTooLarge, "65536 bytes"},
	}
	path := ordersPath + "/" + orderID("acme", 1)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := a.in(t)
			a.wantProblem(a.call(acme, "POST", ordersPath, tt.body), tt.status, tt.words)
			a.wantProblem(a.call(acme, "PUT", path, tt.body), tt.status, tt.words)
		})
	}
}

func TestInvalidOrders(t *testing.T) {
	a := newAPI(t)
	tests := []struct {
		name, body string
		want       []violation
	}{
		{"nothing", `null`, []violation{
			{"must have 1 to 100 characters, not all of them blank", "#/customer"},
			{"must have 1 to 100 characters, not all of them blank", "#/item"},
			{"must be from 1 to 1000", "#/quantity"},
		}},
		{"list", `[]`, []violation{{"must be an object, not array", "#"}}},
		{"blank", `{"customer":" \t","item":"Pen","quantity":1}`, []violation{
			{"must have 1 to 100 characters, not all of them blank", "#/customer"},
		}},
		{"long", `{"customer":"Ada","item":"` + strings.Repeat("é", maxTextLength+1) + `","quantity":1}`, []violation{
			{"must have 1 to 100 characters, not all of them blank", "#/item"},
		}},
		{"quantity too large", `{"customer":"Ada","item":"Pen","quantity":1001}`, []violation{{"must be from 1 to 1000", "#/quantity"}}},
		{"quantity a string", `{"customer":"Ada","item":"Pen","quantity":"1"}`, []violation{{"must be a whole number, not string", "#/quantity"}}},
		{"quantity a fraction", `{"customer":"Ada","item":"Pen","quantity":1.5}`, []violation{{"must be a whole number, not number 1.5", "#/quantity"}}},
		{"customer a number", `{"customer":1,"item":"Pen","quantity":1}`, []violation{{"must be a string, not number", "#/customer"}}},
		{"unknown status", `{"customer":"Ada","item":"Pen","quantity":1,"status":"lost"}`, []violation{
			{"must be one of open, shipped, cancelled", "#/status"},
		}},
	}
	path := ordersPath + "/" + orderID("acme", 1)
	before := a.call(acme, "GET", ordersPath, "").body
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := a.in(t)
			for _, got := range []answer{a.call(acme, "POST", ordersPath, tt.body), a.call(acme, "PUT", path, tt.body)} {
				if p := a.wantProblem(got, http.StatusUnprocessableEntity, "correct what errors lists"); !slices.Equal(p.Errors, tt.want) {
					t.Errorf("errors = %q, want %q", p.Errors, tt.want)
				}
			}
		})
	}
	if after := a.call(acme, "GET", ordersPath, "").body; after != before {
		t.Errorf("refused requests changed the orders from %s to %s", before, after)
	}
}

func TestLongestTextsAreTaken(t *testing.T) {
	a := newAPI(t)
	long := strings.Repeat("é", maxTextLength)
	if got := a.create(acme, fmt.Sprintf(`{"customer":%q,"item":%q,"quantity":1000}`, long, long)); got.Customer != long || got.Item != long {
		t.Errorf("got %+v", got)
	}
}

func TestOrdersAreBounded(t *testing.T) {
	a := newAPI(t)
	const body = `{"customer":"Ada","item":"Pen","quantity":1}`
	for range maxOrders - get[exampleAnswer](a, acme, "/api/v1/example_endpoint").Orders {
		a.create(acme, body)
	}
	a.wantProblem(a.call(acme, "POST", ordersPath, body), http.StatusConflict, "1000 orders")
	a.create(globex, body)
	a.want(a.call(acme, "DELETE", ordersPath+"/"+orderID("acme", 1), ""), http.StatusNoContent)
	a.create(acme, body)
}

func TestConcurrentUse(t *testing.T) {
	a := newAPI(t)
	count := func(as identity) int { return get[exampleAnswer](a, as, "/api/v1/example_endpoint").Orders }
	wantAcme, wantGlobex := count(acme)+8, count(globex)+8

	var clients sync.WaitGroup
	for _, as := range []identity{acme, globex, acme, globex, acme, globex, acme, globex} {
		clients.Go(func() {
			for i := range 20 {
				got := a.call(as, "POST", ordersPath, `{"customer":"Ada","item":"Pen","quantity":1}`)
				if got.status != http.StatusCreated {
					t.Errorf("create = %d %s", got.status, got.body)
				}
				a.call(as, "GET", ordersPath+"?limit=100", "")
				path := got.header.Get("Location")
				if got := a.call(as, "PUT", path, `{"customer":"Ada","item":"Ink","quantity":2}`); got.status != http.StatusOK {
					t.Errorf("replace = %d %s", got.status, got.body)
				}
				if i%10 == 0 {
					continue // two of each client stay
				}
				if got := a.call(as, "DELETE", path, ""); got.status != http.StatusNoContent {
					t.Errorf("delete = %d %s", got.status, got.body)
				}
			}
		})
	}
	clients.Wait()
	if gotAcme, gotGlobex := count(acme), count(globex); gotAcme != wantAcme || gotGlobex != wantGlobex {
		t.Errorf("acme has %d orders, want %d; globex has %d, want %d", gotAcme, wantAcme, gotGlobex, wantGlobex)
	}
}
