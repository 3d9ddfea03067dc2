package examplebackend

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Bounds of requests. openapi.json says the same.
const (
	maxBodyBytes    = 64 << 10
	maxTextLength   = 100 // characters
	maxQuantity     = 1000
	defaultPageSize = 20
	maxPageSize     = 100
)

// orderStatuses are the states of an order. The first is that of an order whose
// request names none.
var orderStatuses = []string{"open", "shipped", "cancelled"}

// orderFields are what a client says of an order.
type orderFields struct {
	Customer string `json:"customer"`
	Item     string `json:"item"`
	Quantity int    `json:"quantity"`
	Status   string `json:"status"`
}

type orderPage struct {
	Items []order `json:"items"`
	// NextPageToken is empty on the last page.
	NextPageToken string `json:"nextPageToken"`
}

func (b *backend) listOrders(w http.ResponseWriter, r *http.Request, c caller) error {
	query := r.URL.Query()
	limit, err := queryInt(query, "limit", 1, maxPageSize, defaultPageSize)
	if err != nil {
		return err
	}
	after, err := parsePageToken(query.Get("pageToken"))
	if err != nil {
		return err
	}
	items, next, err := b.store.list(c.tenant, after, limit)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, orderPage{Items: items, NextPageToken: formatPageToken(next)})
	return nil
}

func (b *backend) createOrder(w http.ResponseWriter, r *http.Request, c caller) error {
	fields, err := readOrder(w, r)
	if err != nil {
		return err
	}
	created, err := b.store.create(c.tenant, fields, b.now())
	if err != nil {
		return err
	}
	w.Header().Set("Location", basePath+"/orders/"+created.ID)
	writeJSON(w, http.StatusCreated, created)
	return nil
}

func (b *backend) getOrder(w http.ResponseWriter, r *http.Request, c caller) error {
	found, err := b.store.get(c.tenant, r.PathValue("id"))
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, found)
	return nil
}

func (b *backend) replaceOrder(w http.ResponseWriter, r *http.Request, c caller) error {
	fields, err := readOrder(w, r)
	if err != nil {
		return err
	}
	replaced, err := b.store.replace(c.tenant, r.PathValue("id"), fields, b.now())
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, replaced)
	return nil
}

func (b *backend) deleteOrder(w http.ResponseWriter, r *http.Request, c caller) error {
	if err := b.store.delete(c.tenant, r.PathValue("id")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// A page token is the sequence of the last order that the client has, encoded so
// that nobody is tempted to count with it. Orders that come or go between two
// pages make no other order appear twice or not at all.
func formatPageToken(after uint64) string {
	if after == 0 {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(strconv.AppendUint(nil, after, 10))
}

func parsePageToken(pageToken string) (uint64, error) {
	if pageToken == "" {
		return 0, nil
	}
	decoded, err := base64.RawURLEncoding.DecodeString(pageToken)
	if err == nil {
		var after uint64
		if after, err = strconv.ParseUint(string(decoded), 10, 64); err == nil {
			return after, nil
		}
	}
	return 0, newProblem(http.StatusBadRequest,
		"The query parameter pageToken is not one that this API gave; leave it out to begin with the first page.")
}

// readOrder reads and checks an order from the body, and sets the status where
// the client left it out.
func readOrder(w http.ResponseWriter, r *http.Request) (orderFields, error) {
	fields := orderFields{Status: orderStatuses[0]}
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBodyBytes))
	dec.DisallowUnknownFields()
	err := dec.Decode(&fields)
	if err == nil {
		// A second value in the body would otherwise go unnoticed.
		if _, err = dec.Token(); err == nil {
			err = errors.New("there is more after the order")
		} else if errors.Is(err, io.EOF) {
			err = nil
		}
	}
	if err != nil {
		return orderFields{}, bodyProblem(err)
	}
	if violations := fields.violations(); len(violations) > 0 {
		return orderFields{}, invalidOrder(violations...)
	}
	return fields, nil
}

func bodyProblem(err error) *problem {
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return newProblem(http.StatusRequestEntityTooLarge,
			"The body is larger than %d bytes, the most that is read; send a smaller one.", tooLarge.Limit)
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		pointer := "#"
		if wrong.Field != "" {
			pointer += "/" + wrong.Field
		}
		return invalidOrder(violation{Pointer: pointer, Detail: fmt.Sprintf("must be %s, not %s", kindName(wrong.Type.Kind()), wrong.Value)})
	}
	if errors.Is(err, io.EOF) {
		err = errors.New("it is empty")
	}
	return newProblem(http.StatusBadRequest,
		"The body is not an order in JSON (%s); send an object with customer, item and quantity.", strings.TrimPrefix(err.Error(), "json: "))
}

// kindName names what JSON has for a kind that orderFields uses.
func kindName(kind reflect.Kind) string {
	switch kind {
	case reflect.String:
		return "a string"
	case reflect.Int:
		return "a whole number"
	default:
		return "an object"
	}
}

func invalidOrder(violations ...violation) *problem {
	p := newProblem(http.StatusUnprocessableEntity, "The order is not valid; correct what errors lists and send it again.")
	p.Errors = violations
	return p
}

func (f orderFields) violations() []violation {
	var found []violation
	check := func(ok bool, pointer, format string, args ...any) {
		if !ok {
			found = append(found, violation{Pointer: pointer, Detail: fmt.Sprintf(format, args...)})
		}
	}
	check(validText(f.Customer), "#/customer", "must have 1 to %d characters, not all of them blank", maxTextLength)
	check(validText(f.Item), "#/item", "must have 1 to %d characters, not all of them blank", maxTextLength)
	check(f.Quantity >= 1 && f.Quantity <= maxQuantity, "#/quantity", "must be from 1 to %d", maxQuantity)
	check(slices.Contains(orderStatuses, f.Status), "#/status", "must be one of %s", strings.Join(orderStatuses, ", "))
	return found
}

func validText(s string) bool {
	return strings.TrimSpace(s) != "" && utf8.RuneCountInString(s) <= maxTextLength
}
