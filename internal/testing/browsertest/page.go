package browsertest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
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
	// TimeZone is the reader's, such as Asia/Tokyo; that of the machine if empty.
	TimeZone string
	// NoScript opens the page without JavaScript.
	NoScript bool
	// Tolerant leaves what the page did wrong to the test, in Faults.
	Tolerant bool
	// Origins are those that it may go to besides its own.
	Origins []string
}

// timeout is how long a step may take, on a machine that is busy with other tests.
const timeout = 30 * time.Second

// Page is an open page, in a profile of its own.
type Page struct {
	t       *testing.T
	context context.Context
	options Options
	// origins are those that the page may go to.
	origins []string

	mu       sync.Mutex
	dialogs  []string
	faults   []string
	requests []*network.Request
}

// Open opens a page and waits until it is loaded. At the end of the test the page
// must not have broken its Content-Security-Policy, logged an error, thrown an
// exception, or asked another origin for anything.
func Open(t *testing.T, address string, o Options) *Page {
	t.Helper()
	ctx, cancel := chromedp.NewContext(start(t), chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	return open(ctx, t, address, o)
}

// Tab opens another page in the profile of this one, whose cookies it shares.
func (p *Page) Tab(address string) *Page {
	p.t.Helper()
	ctx, cancel := chromedp.NewContext(p.context)
	p.t.Cleanup(cancel)
	return open(ctx, p.t, address, p.options)
}

// open opens a page in the tab that the context is for.
func open(ctx context.Context, t *testing.T, address string, o Options) *Page {
	t.Helper()
	parsed, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	p := &Page{t: t, context: ctx, options: o, origins: append([]string{parsed.Scheme + "://" + parsed.Host}, o.Origins...)}
	if err := chromedp.Do(ctx); err != nil { // opens the tab
		t.Fatal(err)
	}
	if err := chromedp.Listen(ctx, p.listen); err != nil {
		t.Fatal(err)
	}
	p.Do(emulate(o))
	p.Go(address)
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
		_, err := cdp.Call(ctx, t, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: o.TimeZone})
		return err
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
	case *page.EventJavascriptDialogOpening:
		p.dialogs = append(p.dialogs, string(e.Type))
		go p.accept()
	case *network.EventRequestWillBeSent:
		p.requests = append(p.requests, e.Request)
		if !p.isOwn(e.Request.URL) {
			p.faults = append(p.faults, "a request to another origin: "+e.Request.URL)
		}
	}
}

// isOwn says whether the page may ask for an address.
func (p *Page) isOwn(address string) bool {
	return strings.HasPrefix(address, "data:") || slices.ContainsFunc(p.origins, func(origin string) bool {
		return strings.HasPrefix(address, origin+"/")
	})
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

// accept says yes to a dialog: the page waits for an answer.
func (p *Page) accept() {
	ctx, cancel := context.WithTimeout(p.context, timeout)
	defer cancel()
	_, _ = chromedp.Run(ctx, func(ctx context.Context, t *chromedp.Target) (cdp.Empty, error) {
		return cdp.Call(ctx, t, page.HandleJavaScriptDialog, page.HandleJavaScriptDialogParams{Accept: true})
	}) // the tab may be closed by now, and its dialog with it
}

// Dialogs are the kinds of the dialogs that the page asked so far, such as
// beforeunload. Each is answered with yes.
func (p *Page) Dialogs() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.dialogs...)
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

// Go opens an address in the page's tab, Reload loads what is there again, and Back and
// Forward go to what was there before and after; each waits until that is loaded.
func (p *Page) Go(address string) {
	p.t.Helper()
	p.Do(scripts(!p.options.NoScript), chromedp.Navigate(address)) // Axe may have switched them on
}

// Reload is told beside Go.
func (p *Page) Reload() { p.t.Helper(); p.Do(chromedp.Reload()) }

// Back is told beside Go.
func (p *Page) Back() { p.t.Helper(); p.travel(-1) }

// Forward is told beside Go.
func (p *Page) Forward() { p.t.Helper(); p.travel(1) }

// Emulate shows the page from now on as the options say: dark or light, and as wide.
func (p *Page) Emulate(o Options) { p.t.Helper(); p.Do(emulate(o)) }

// Address is where the page is.
func (p *Page) Address() string { p.t.Helper(); return Eval[string](p, "location.href") }

// Submit clicks on what a CSS selector finds first, and waits until the page that
// comes for it is loaded.
func (p *Page) Submit(selector string) {
	p.t.Helper()
	p.SubmitStatus(selector)
}

// SubmitStatus is Submit, and returns the status of the answer.
func (p *Page) SubmitStatus(selector string) int {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.context, timeout)
	defer cancel()
	response, err := chromedp.RunResponse(ctx, chromedp.Click(selector, chromedp.NodeVisible))
	if err != nil {
		p.t.Fatalf("submitting %s: %v", selector, err)
	}
	if response == nil {
		return 0 // what came is from the browser's memory
	}
	return int(response.Status)
}

// Allow lets the page go to another origin from now on.
func (p *Page) Allow(origin string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.origins = append(p.origins, origin)
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
	// Not with each frame: a page behind another one draws none.
	poll := chromedp.Poll[bool]("!!("+expression+")", chromedp.WithPollingInterval(pollInterval), chromedp.WithPollingTimeout(timeout))
	for {
		err := p.ask(ctx, poll)
		if err == nil {
			return
		}
		isLeft := errors.Is(err, context.DeadlineExceeded) || slices.ContainsFunc(wentOn, func(reason string) bool { return strings.Contains(err.Error(), reason) })
		if !isLeft || ctx.Err() != nil {
			p.t.Fatalf("waiting for %s at %s: %v", expression, p.place(), err)
		}
	}
}

// ask polls for some seconds: a page that is left and kept by the browser, to be gone
// back to, answers no more.
func (p *Page) ask(ctx context.Context, poll chromedp.Action[bool]) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err := chromedp.Run(ctx, poll)
	return err
}

const (
	pollInterval = 50 * time.Millisecond
	// patience is how long one page is asked before it is looked which is there.
	patience = 3 * time.Second
)

// wentOn is what Chromium says of an expression whose page was left meanwhile.
var wentOn = []string{"Cannot find context with specified id", "Inspected target navigated or closed", "Not attached to an active page"}

// Front puts the page before the others of its window.
func (p *Page) Front() {
	p.t.Helper()
	p.Do(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, page.BringToFront, cdp.Empty{})
		return err
	}))
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
