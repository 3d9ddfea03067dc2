package examplebackend

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Bounds of what is kept, so that no client can fill the memory.
const (
	maxTenants = 1000
	maxOrders  = 1000 // of each tenant
)

// Why the store refuses.
var (
	errNoOrder     = errors.New("the tenant has no such order")
	errOrdersFull  = errors.New("the tenant has too many orders")
	errTenantsFull = errors.New("there are too many tenants")
)

// order is one order of a tenant.
type order struct {
	ID string `json:"id"`
	orderFields
	CreatedAt time.Time `json:"createdAt"`
	UpdatedAt time.Time `json:"updatedAt"`

	// sequence is the order's place among those that the tenant ever had, from 1.
	sequence uint64
}

// store keeps the orders of all tenants. One lock does: nothing under it takes
// longer than copying a page.
type store struct {
	mu      sync.Mutex
	tenants map[string]*orderBook
}

// orderBook is the orders of one tenant, by rising sequence. They are looked for
// one by one, which maxOrders keeps short.
type orderBook struct {
	tenant string
	last   uint64 // sequence that was given last; none is given twice
	orders []order
}

func newStore() *store { return &store{tenants: map[string]*orderBook{}} }

func (s *store) count(tenant string) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	book, err := s.open(tenant)
	if err != nil {
		return 0, err
	}
	return len(book.orders), nil
}

// list returns up to limit orders that follow the sequence, and the sequence
// after which to go on, 0 where these are the last.
func (s *store) list(tenant string, after uint64, limit int) ([]order, uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	book, err := s.open(tenant)
	if err != nil {
		return nil, 0, err
	}
	rest := book.orders
	for len(rest) > 0 && rest[0].sequence <= after {
		rest = rest[1:]
	}
	page := append([]order{}, rest[:min(limit, len(rest))]...)
	if len(page) == len(rest) {
		return page, 0, nil
	}
	return page, page[len(page)-1].sequence, nil
}

func (s *store) get(tenant, id string) (order, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	book, i, err := s.find(tenant, id)
	if err != nil {
		return order{}, err
	}
	return book.orders[i], nil
}

func (s *store) create(tenant string, fields orderFields, now time.Time) (order, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	book, err := s.open(tenant)
	if err != nil {
		return order{}, err
	}
	if len(book.orders) == maxOrders {
		return order{}, errOrdersFull
	}
	return book.add(fields, now), nil
}

func (s *store) replace(tenant, id string, fields orderFields, now time.Time) (order, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	book, i, err := s.find(tenant, id)
	if err != nil {
		return order{}, err
	}
	book.orders[i].orderFields = fields
	book.orders[i].UpdatedAt = now
	return book.orders[i], nil
}

func (s *store) delete(tenant, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	book, i, err := s.find(tenant, id)
	if err != nil {
		return err
	}
	book.orders = slices.Delete(book.orders, i, i+1)
	return nil
}

// open returns the tenant's orders, made on first use. The lock must be held.
func (s *store) open(tenant string) (*orderBook, error) {
	if book := s.tenants[tenant]; book != nil {
		return book, nil
	}
	if len(s.tenants) == maxTenants {
		return nil, errTenantsFull
	}
	book := newOrderBook(tenant)
	s.tenants[tenant] = book
	return book, nil
}

// find returns where a tenant's order is. The lock must be held.
func (s *store) find(tenant, id string) (*orderBook, int, error) {
	book, err := s.open(tenant)
	if err != nil {
		return nil, 0, err
	}
	i := slices.IndexFunc(book.orders, func(o order) bool { return o.ID == id })
	if i < 0 {
		return nil, 0, errNoOrder
	}
	return book, i, nil
}

func (b *orderBook) add(fields orderFields, now time.Time) order {
	b.last++
	o := order{ID: orderID(b.tenant, b.last), orderFields: fields, CreatedAt: now, UpdatedAt: now, sequence: b.last}
	b.orders = append(b.orders, o)
	return o
}

// orderID makes ids that differ between tenants and yet are the same in every
// run, so that docs and tests can name them. They protect nothing: what an id
// stands for depends on the tenant that asks.
func orderID(tenant string, sequence uint64) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%d", tenant, sequence))
	return "ord_" + hex.EncodeToString(sum[:8])
}

// newOrderBook makes up three to six orders from the tenant's name alone.
func newOrderBook(tenant string) *orderBook {
	customers := []string{"Ada Alvarez", "Ben Okafor", "Chloe Martin", "Dmitri Ivanov", "Emi Tanaka", "Farah Haddad"}
	items := []string{"Desk lamp", "Office chair", "Notebook", "Fountain pen", "Coffee mug", "Backpack", "Wall clock"}

	dice := sha256.Sum256([]byte(tenant))
	roll := func(die, sides int) int { return int(dice[die]) % sides }
	day := time.Date(2026, time.January, 5, 9, 0, 0, 0, time.UTC)

	book := &orderBook{tenant: tenant}
	for i := range 3 + roll(0, 4) {
		book.add(orderFields{
			Customer: customers[roll(4*i+1, len(customers))],
			Item:     items[roll(4*i+2, len(items))],
			Quantity: 1 + roll(4*i+3, 9),
			Status:   orderStatuses[roll(4*i+4, len(orderStatuses))],
		}, day.AddDate(0, 0, i))
	}
	return book
}
