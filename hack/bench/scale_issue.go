package main

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/directory"
)

// issuing measures what the bench measures of issuing, beside all the others. A
// manager that starts looks at each of them, and has nothing to write.
func (s *scaling) issuing(ctx context.Context) error { return s.measureIssue(ctx) }

// memory measures what a replica takes: the live heap per token in this process, and
// start, readiness and memory of the real one.
func (s *scaling) memory(ctx context.Context) error {
	if err := s.stopManager(); err != nil {
		return err
	}
	heap, tokens, err := s.liveDirectory(ctx)
	if err != nil {
		return err
	}
	server := s.startings()[2]
	for range s.rounds {
		if err := s.startOnce(ctx, server); err != nil {
			return err
		}
	}
	t := &table{Section: partMemory, Title: fmt.Sprintf("a replica of the API server with %d tokens", tokens), Columns: []string{"what", "figure", "unit"}}
	each := number("%.0f", heap/float64(tokens))
	t.add(text("live heap per token, ApiToken and a share of its tenant included"), each, text("B"))
	t.add(text("live heap of the directory"), mebibytes(heap), text("MiB"))
	t.add(text("start to ready"), milliseconds(time.Duration(median(server.ready))), text("ms"))
	t.add(text("RSS "+s.settle.String()+" later"), mebibytes(median(server.resident)), text("MiB"))
	t.add(text("peak RSS"), mebibytes(median(server.peak)), text("MiB"))
	for _, name := range []string{"kube-apiserver", "etcd"} {
		pid, _, err := programOf(name)
		if err != nil {
			return err
		}
		used, _ := memoryOf(pid)
		t.add(text("RSS of the "+name+" now"), mebibytes(float64(used.resident)), text("MiB"))
	}
	t.note("Start and RSS are medians of %d starts; the heap is that of a directory in this process that was fed by the same cluster.", s.rounds)
	s.report.atMost(5, 350, "live heap per token with its ApiToken, B", each)
	return s.report.show(t)
}

// liveDirectory feeds a directory in this process with the cluster, and returns what
// it keeps on the heap for how many tokens.
func (s *scaling) liveDirectory(ctx context.Context) (heap float64, tokens int, err error) {
	config, err := s.plane.ServiceAccountConfig(ctx, v1alpha1.SystemNamespace, "latchkey-apiserver", time.Hour)
	if err != nil {
		return 0, 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	defer func() {
		cancel()
		if ended := <-ended; err == nil {
			err = ended
		}
	}()
	heap, err = heapOf(func() (any, error) {
		view := directory.New(slog.New(slog.DiscardHandler))
		go func() {
			ended <- view.Run(ctx, config, directory.Namespaces{Records: v1alpha1.RecordsNamespace, System: v1alpha1.SystemNamespace})
		}()
		for deadline := time.Now().Add(startLimit); !view.Synced(); sleep(ctx, 10*time.Millisecond) {
			if time.Now().After(deadline) || ctx.Err() != nil {
				return nil, fmt.Errorf("the directory is not complete after %s", startLimit)
			}
		}
		sleep(ctx, s.settle)
		tokens = view.Count().Tokens
		return view, nil
	})
	if tokens < s.total && err == nil {
		err = fmt.Errorf("the directory has %d tokens, want at least %d", tokens, s.total)
	}
	return math.Max(heap, 0), tokens, err
}
