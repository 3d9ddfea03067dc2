package browsertest

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// Options are how a page is opened.
type Options struct {
	// Dark is the colour scheme that the reader prefers.
	Dark bool
	// Width of the window in CSS pixels; 1280 if zero. Up to 600 it is a phone's.
	Width int64
	// NoScript opens the page without JavaScript.
	NoScript bool
	// Tolerant leaves what the page did wrong to the test, in Faults.
	Tolerant bool
}

// timeout is how long a step may take, on a machine that is busy with other tests.
const timeout = 30 * time.Second

// Page is an open page, in a profile of its own.
type Page struct {
	t       *testing.T
	context context.Context
	origin  string

	mu       sync.Mutex
	faults   []string
	requests []*network.Request
}

// Open opens a page and waits until it is loaded. At the end of the test the page
// must not have broken its Content-Security-Policy, logged an error, thrown an
// exception, or asked another origin for anything.
func Open(t *testing.T, address string, o Options) *Page {
	t.Helper()
	parsed, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := chromedp.NewContext(start(t), chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	p := &Page{t: t, context: ctx, origin: parsed.Scheme + "://" + parsed.Host}
	if err := chromedp.Do(ctx); err != nil { // opens the tab
		t.Fatal(err)
	}
	if err := chromedp.Listen(ctx, p.listen); err != nil {
		t.Fatal(err)
	}
	p.Do(emulate(o), scripts(!o.NoScript), chromedp.Navigate(address))
	if !o.Tolerant {
		t.Cleanup(func() {
			for _, fault := range p.Faults() {
				t.Error(fault)
			}
		})
	}
	return p
}

func emulate(o Options) chromedp.Action[chromedp.Void] {
	if o.Width == 0 {
		o.Width = 1280
	}
	scheme := "light"
	if o.Dark {
		scheme = "dark"
	}
	metrics := emulation.SetDeviceMetricsOverrideParams{Width: o.Width, Height: 900, DeviceScaleFactor: 1, Mobile: o.Width <= 600}
	media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme},
		{Name: "prefers-reduced-motion", Value: "reduce"},
	}}
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		if _, err := cdp.Call(ctx, t, log.Enable, cdp.Empty{}); err != nil {
			return err
		}
		if _, err := cdp.Call(ctx, t, network.Enable, network.EnableParams{}); err != nil {
			return err
		}
		if _, err := cdp.Call(ctx, t, emulation.SetDeviceMetricsOverride, metrics); err != nil {
			return err
		}
		if _, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, media); err != nil {
			return err
		}
		return nil
	})
}

// scripts switches JavaScript for the page on or off.
func scripts(on bool) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !on})
		return err
	})
}

// listen takes down what a page does.
func (p *Page) listen(event any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := event.(type) {
	case *log.EventEntryAdded:
		// An answer of 401 is an error to the network, and here often the point.
		if e.Entry.Level == log.EntryLevelError && e.Entry.Source != log.EntrySourceNetwork {
			p.faults = append(p.faults, fmt.Sprintf("%s: %s", e.Entry.Source, e.Entry.Text))
		}
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError {
			p.faults = append(p.faults, "console.error: "+describe(e.Args))
		}
	case *runtime.EventExceptionThrown:
		p.faults = append(p.faults, "exception: "+e.ExceptionDetails.Text+" "+describe([]*runtime.RemoteObject{e.ExceptionDetails.Exception}))
	case *network.EventRequestWillBeSent:
		p.requests = append(p.requests, e.Request)
		if !strings.HasPrefix(e.Request.URL, p.origin+"/") && !strings.HasPrefix(e.Request.URL, "data:") {
			p.faults = append(p.faults, "a request to another origin: "+e.Request.URL)
		}
	}
}

func describe(values []*runtime.RemoteObject) string {
	var texts []string
	for _, v := range values {
		if v == nil {
			continue
		}
		texts = append(texts, strings.TrimSpace(string(v.Value)+" "+v.Description))
	}
	return strings.Join(texts, " ")
}

// Faults are what the page did wrong so far.
func (p *Page) Faults() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.faults...)
}

// Requests are those that the page sent so far.
func (p *Page) Requests() []*network.Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]*network.Request(nil), p.requests...)
}

// Do takes steps.
func (p *Page) Do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.context, timeout)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		p.t.Fatal(err)
	}
}

// Click clicks on what a CSS selector finds first.
func (p *Page) Click(selector string) {
	p.t.Helper()
	p.Do(chromedp.Click(selector, chromedp.NodeVisible))
}

// Type types into what a CSS selector finds first.
func (p *Page) Type(selector, text string) {
	p.t.Helper()
	p.Do(chromedp.SendKeys(selector, text, chromedp.NodeVisible))
}

// Press presses keys, of package kb of chromedp, wherever the focus is.
func (p *Page) Press(keys string) {
	p.t.Helper()
	p.Do(chromedp.KeyEvent(keys))
}

// Wait waits until a JavaScript expression is true.
func (p *Page) Wait(expression string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.context, timeout)
	defer cancel()
	if _, err := chromedp.Run(ctx, chromedp.Poll[bool]("!!("+expression+")", chromedp.WithPollingTimeout(timeout))); err != nil {
		p.t.Fatalf("waiting for %s: %v", expression, err)
	}
}

// Text is the text that a reader sees of what a CSS selector finds first.
func (p *Page) Text(selector string) string {
	p.t.Helper()
	return Eval[string](p, fmt.Sprintf(`document.querySelector(%q).innerText`, selector))
}

// Eval is the value of a JavaScript expression, which may be a promise.
func Eval[T any](p *Page, expression string) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.context, timeout)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		p.t.Fatalf("%.200s: %v", expression, err)
	}
	return value
}

// WantNoSidewaysScrolling wants the page to be no wider than its window.
func (p *Page) WantNoSidewaysScrolling() {
	p.t.Helper()
	if over := Eval[int](p, `document.documentElement.scrollWidth - document.documentElement.clientWidth`); over > 0 {
		p.t.Errorf("the page is %d px wider than its window; widest: %s", over, Eval[string](p, widest))
	}
}

const widest = `[...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > innerWidth + 1)
	.slice(0, 5).map(e => e.tagName + "." + e.className).join(", ")`

// Screenshot writes the whole page, as a picture to look at, to NAME.png in the
// folder that SCREENSHOTS names; without it, it does nothing.
func (p *Page) Screenshot(name string) {
	p.t.Helper()
	p.write(os.Getenv("SCREENSHOTS"), name, page.CaptureScreenshotParams{CaptureBeyondViewport: new(true)})
}

// Picture writes what is seen in the window, for a guide, to NAME.png in the folder
// that PICTURES names; without it, it does nothing.
func (p *Page) Picture(name string) {
	p.t.Helper()
	p.write(os.Getenv("PICTURES"), name, page.CaptureScreenshotParams{})
}

func (p *Page) write(dir, name string, how page.CaptureScreenshotParams) {
	p.t.Helper()
	if dir == "" {
		return
	}
	ctx, cancel := context.WithTimeout(p.context, timeout)
	defer cancel()
	taken, err := chromedp.Run(ctx, func(ctx context.Context, t *chromedp.Target) ([]byte, error) {
		r, err := cdp.Call(ctx, t, page.CaptureScreenshot, how)
		return r.Data, err
	})
	if err == nil {
		err = os.MkdirAll(dir, 0o750)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), taken, 0o644)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}
