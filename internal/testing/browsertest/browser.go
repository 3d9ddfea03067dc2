// Package browsertest opens pages in a real Chromium, for tests: it says what a page
// did that it should not have, and checks it with axe.
package browsertest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// names are what Chromium is called; CHROMIUM names another one.
var names = []string{"chromium", "chromium-browser", "google-chrome-stable", "google-chrome"}

// startTimeout is how long Chromium may take to start, on a machine that is busy
// with other tests.
const startTimeout = time.Minute

// browser is the one Chromium of a test binary: to start one takes a second.
var browser struct {
	once    sync.Once
	context context.Context
	cancel  context.CancelFunc
	err     error
}

// Main is for TestMain: it runs the tests of m, which is a *testing.M or runs one
// inside of something else, and stops Chromium where one of them started it.
func Main(m interface{ Run() int }) int {
	code := m.Run()
	if browser.cancel == nil {
		return code
	}
	defer browser.cancel()
	ctx, cancel := context.WithTimeout(browser.context, startTimeout)
	defer cancel()
	if err := chromedp.Cancel(ctx); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, "browsertest: stopping Chromium:", err)
		return 1
	}
	return code
}

// find looks for Chromium.
func find() (string, error) {
	if path := os.Getenv("CHROMIUM"); path != "" {
		return path, nil
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("no Chromium here: install Debian's package chromium, or name one in CHROMIUM (looked for %q)", names)
}

// start starts Chromium for the first test that needs it. Without one, a test is
// left out with a plain line, and fails where CI is true.
func start(t *testing.T) context.Context {
	t.Helper()
	path, err := find()
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		fmt.Printf("%s is left out: %v\n", t.Name(), err)
		t.Skip(err)
	}
	browser.once.Do(func() { browser.err = launch(path) })
	if browser.err != nil {
		t.Fatalf("starting %s: %v", path, browser.err)
	}
	return browser.context
}

func launch(path string) error {
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		// The pages are our own, and containers often forbid what the sandbox needs.
		chromedp.NoSandbox,
		chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true),
		// A page that is kept while another is shown is frozen, and may answer no more.
		chromedp.Flag("disable-back-forward-cache", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("no-pings", true),
		chromedp.WSURLReadTimeout(startTimeout),
	)
	options = append(options, reachable.flags()...)
	allocator, stopAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, stop := chromedp.NewContext(allocator)
	//nolint:fatcontext // one browser for all tests of the process, not a context per call
	browser.context, browser.cancel = ctx, func() { stop(); stopAllocator() }
	return chromedp.Do(ctx) // starts it
}
