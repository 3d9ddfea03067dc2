package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"

	"k8s.io/client-go/tools/cache"

	"github.com/latchkey-dev/latchkey/internal/directory"
	"github.com/latchkey-dev/latchkey/internal/record"
)

// measureHeap counts the live heap per token, of Latchkey's directory and of a
// client-go store with the same objects.
func (b *bench) measureHeap(ctx context.Context) error {
	t := &table{
		Section: sectionHeap, Title: "live heap per token, in this process",
		Columns: []string{"tokens", "kept", "B/token", "÷ informer's record"},
	}
	for _, n := range b.tokens {
		_, credentials, err := mint(benchTenant, n)
		if err != nil {
			return err
		}
		var baseline float64
		for _, k := range keepers {
			if err := ctx.Err(); err != nil {
				return err
			}
			bytes, err := heapOf(func() (any, error) { return k.keep(credentials) })
			if err != nil {
				return fmt.Errorf("%s: %w", k.name, err)
			}
			each := bytes / float64(n)
			if baseline == 0 {
				baseline = each
			}
			t.add(number("%.0f", float64(n)), text(k.name), number("%.0f", each), number("%.2f", each/baseline))
			if k.goal != nil && n == b.many() {
				k.goal(b.report, each, each/baseline)
			}
		}
	}
	return b.report.show(t)
}

// keeper is a way to keep tokens in memory.
type keeper struct {
	name string
	keep func([]record.Credential) (any, error)
	goal func(r *report, bytes, ratio float64)
}

// keepers begin with the one that the others are compared with.
var keepers = []keeper{
	{name: "informer, record", keep: keepInStore(true, false)},
	{name: "informer, record and ApiToken", keep: keepInStore(true, true)},
	{name: "Latchkey, record", keep: keepInDirectory(true, false), goal: func(r *report, _, ratio float64) {
		r.atMost(5, .15, "live heap of a record ÷ the default informer's", number("%.2f", ratio))
	}},
	{name: "Latchkey, record and ApiToken", keep: keepInDirectory(true, true), goal: func(r *report, bytes, _ float64) {
		r.atMost(5, 350, "live heap per token with its ApiToken, B", number("%.0f", bytes))
	}},
}

// heapOf is how much memory stays in use because of what keep returns.
func heapOf(keep func() (any, error)) (float64, error) {
	before := liveHeap()
	kept, err := keep()
	after := liveHeap()
	runtime.KeepAlive(kept)
	return float64(after) - float64(before), err
}

func liveHeap() uint64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC() // what the first one's finalizers let go of
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// keepInStore keeps objects whole, as a default informer does.
func keepInStore(records, apiTokens bool) func([]record.Credential) (any, error) {
	return func(credentials []record.Credential) (any, error) {
		var stores [2]cache.Indexer
		for i := range stores {
			stores[i] = cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{})
		}
		for i, c := range credentials {
			p, err := newPair(benchTenant, i, c).received()
			if err != nil {
				return nil, err
			}
			if records {
				err = stores[0].Add(p.record)
			}
			if apiTokens {
				err = errors.Join(err, stores[1].Add(p.apiToken))
			}
			if err != nil {
				return nil, err
			}
		}
		return &stores, nil
	}
}

// keepInDirectory keeps what Latchkey keeps.
func keepInDirectory(records, apiTokens bool) func([]record.Credential) (any, error) {
	return func(credentials []record.Credential) (any, error) {
		view := directory.New(slog.New(slog.DiscardHandler))
		stores := view.Stores()
		var lists [2][]any
		for i, c := range credentials {
			p, err := newPair(benchTenant, i, c).received()
			if err != nil {
				return nil, err
			}
			if err := keepTransformed(&lists[0], stores.Records, p.record, records); err != nil {
				return nil, err
			}
			if err := keepTransformed(&lists[1], stores.ApiTokens, p.apiToken, apiTokens); err != nil {
				return nil, err
			}
		}
		return view, errors.Join(stores.Records.Replace(lists[0], "1"), stores.ApiTokens.Replace(lists[1], "1"))
	}
}

func keepTransformed(list *[]any, store cache.ReflectorStore, object any, wanted bool) error {
	if !wanted {
		return nil
	}
	shrunk, err := transformer(store)(object)
	*list = append(*list, shrunk)
	return err
}
