package browsertest

import (
	"context"
	"os"
	"path/filepath"
	"time"

	cdpbrowser "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/chromedp"
)

// Download does what makes the page download a file, and waits for the file.
func (p *Page) Download(start func()) (name string, content []byte) {
	p.t.Helper()
	dir := p.t.TempDir()
	p.Do(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, cdpbrowser.SetDownloadBehavior, cdpbrowser.SetDownloadBehaviorParams{
			Behavior: cdpbrowser.SetDownloadBehaviorBehaviorAllowAndName, DownloadPath: dir, EventsEnabled: new(true),
			BrowserContextID: chromedp.FromContext(ctx).BrowserContextID,
		})
		return err
	}))
	names, done := map[string]string{}, make(chan string, 1)
	ctx, cancel := context.WithCancel(p.context)
	defer cancel()
	err := chromedp.Listen(ctx, func(event any) {
		switch e := event.(type) {
		case *cdpbrowser.EventDownloadWillBegin:
			names[e.GUID] = e.SuggestedFilename
		case *cdpbrowser.EventDownloadProgress:
			if e.State != cdpbrowser.DownloadProgressStateInProgress {
				select {
				case done <- e.GUID:
				default: // another file, after the first one
				}
			}
		}
	})
	if err != nil {
		p.t.Fatal(err)
	}
	start()
	select {
	case guid := <-done:
		// Written and read by one goroutine after the other.
		name = names[guid]
		if content, err = os.ReadFile(filepath.Join(dir, guid)); err != nil {
			p.t.Fatal(err)
		}
	case <-time.After(timeout):
		p.t.Fatalf("nothing was downloaded in %s", timeout)
	}
	return name, content
}
