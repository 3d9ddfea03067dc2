package browsertest

import (
	"context"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// travel goes some entries on in the page's history. A page that the browser has kept
// is shown again without being loaded, so that there is nothing to wait for but that it
// is there.
func (p *Page) travel(by int64) {
	p.t.Helper()
	history, err := p.history()
	if err != nil {
		p.t.Fatal(err)
	}
	to := history.CurrentIndex + by
	if to < 0 || to >= int64(len(history.Entries)) {
		p.t.Fatalf("the history has %d pages, and none %+d from the one at %d", len(history.Entries), by, history.CurrentIndex)
	}
	p.Do(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, page.NavigateToHistoryEntry, page.NavigateToHistoryEntryParams{EntryID: history.Entries[to].ID})
		return err
	}))
	p.arrive(to, history.Entries[to].URL)
	p.Wait(`document.readyState === "complete"`)
}

// arrive waits until the page is at an entry of its history. The browser can't say where
// it is while it swaps what is shown.
func (p *Page) arrive(at int64, address string) {
	p.t.Helper()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for deadline := time.After(timeout); ; {
		history, err := p.history()
		if err == nil && history.CurrentIndex == at {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			p.t.Fatalf("the page is not gone to in %s: %s: %v", timeout, address, err)
		}
	}
}

func (p *Page) history() (page.GetNavigationHistoryResult, error) {
	ctx, cancel := context.WithTimeout(p.context, timeout)
	defer cancel()
	return chromedp.Run(ctx, chromedp.NavigationEntries())
}

// place is where the page is, for what a test says that fails.
func (p *Page) place() string {
	history, err := p.history()
	if err != nil {
		return "a place that is not known: " + err.Error()
	}
	return history.Entries[history.CurrentIndex].URL
}
