// SPDX-License-Identifier: MIT

package page_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
)

// browser is the one that all tests share: each has tabs of its own, with nothing in them from other tests.
var browser struct {
	once  sync.Once
	ctx   context.Context
	err   error
	close func()
}

func TestMain(m *testing.M) {
	code := m.Run()
	if browser.close != nil {
		browser.close()
	}
	os.Exit(code)
}

// names are what a Chromium may be called.
var names = []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"}

// start starts the browser.
func start() {
	path := ""
	for _, name := range names {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		browser.err = exec.ErrNotFound
		return
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.WSURLReadTimeout(2*patience),
		chromedp.Flag("hide-scrollbars", true), chromedp.Flag("disable-gpu", true), chromedp.Flag("font-render-hinting", "none"))
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // it refuses to run as root with one; the page is our own
	}
	allocator, release := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, cancel := chromedp.NewContext(allocator, chromedp.WithErrorf(func(string, ...any) {})) // of events that it does not know yet; errors are returned
	browser.ctx, browser.err = ctx, chromedp.Run(ctx)
	browser.close = func() { cancel(); release() }
}

// tab is a page in a browser.
type tab struct {
	*testing.T
	ctx context.Context

	mu       sync.Mutex
	problems []string // what the browser complained of
}

// size is a screen: pixels of CSS, and of the screen to one of them.
type size struct {
	width, height int64
	scale         float64
	phone         bool
}

var (
	desktop = size{1440, 900, 2, false}
	phone   = size{390, 844, 2, true}
)

// open shows a page of that size, in light or dark. At the end of the test the browser must not have complained of anything.
func open(t *testing.T, url string, s size, scheme string) *tab {
	t.Helper()
	if browser.once.Do(start); browser.err != nil {
		if errors.Is(browser.err, exec.ErrNotFound) {
			t.Skipf("the page was not shown by a browser: none of %s is here", strings.Join(names, ", "))
		}
		t.Fatal(browser.err)
	}
	ctx, cancel := newTab(t)
	t.Cleanup(cancel)
	if err := chromedp.Run(ctx); err != nil { // takes the tab over, for longer than any of the actions below
		t.Fatal(err)
	}
	b := &tab{T: t, ctx: ctx}
	chromedp.ListenTarget(ctx, func(e any) {
		b.mu.Lock()
		defer b.mu.Unlock()
		switch e := e.(type) {
		case *runtime.EventExceptionThrown:
			b.problems = append(b.problems, e.ExceptionDetails.Error())
		case *log.EventEntryAdded:
			if e.Entry.Level == log.LevelError || e.Entry.Level == log.LevelWarning {
				b.problems = append(b.problems, fmt.Sprintf("%s: %s %s", e.Entry.Source, e.Entry.Text, e.Entry.URL))
			}
		}
	})
	b.run(log.Enable(), emulation.SetDeviceMetricsOverride(s.width, s.height, s.scale, s.phone), emulation.SetTouchEmulationEnabled(s.phone),
		emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}}),
		chromedp.Navigate(url))
	t.Cleanup(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, p := range b.problems {
			t.Errorf("the browser complains: %s", p)
		}
	})
	return b
}

// newTab makes a tab in a window and a profile of its own. chromedp's own way to make one asks for no window, without which newer browsers
// refuse.
func newTab(t *testing.T) (context.Context, context.CancelFunc) {
	t.Helper()
	b := cdp.WithExecutor(browser.ctx, chromedp.FromContext(browser.ctx).Browser)
	profile, err := target.CreateBrowserContext().WithDisposeOnDetach(true).Do(b)
	if err != nil {
		t.Fatal(err)
	}
	id, err := target.CreateTarget("about:blank").WithBrowserContextID(profile).WithNewWindow(true).Do(b)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := chromedp.NewContext(browser.ctx, chromedp.WithTargetID(id))
	return ctx, func() {
		cancel()
		if err := target.DisposeBrowserContext(profile).Do(b); err != nil {
			t.Error(err)
		}
	}
}

// expect takes complaints back that the test has provoked.
func (b *tab) expect(part string) {
	b.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	var others []string
	for _, p := range b.problems {
		if !strings.Contains(p, part) {
			others = append(others, p)
		}
	}
	if len(others) == len(b.problems) {
		b.Errorf("the browser did not complain of %q, but of %q", part, b.problems)
	}
	b.problems = others
}

func (b *tab) run(actions ...chromedp.Action) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 2*patience)
	defer cancel()
	if err := chromedp.Run(ctx, actions...); err != nil {
		b.Fatal(err)
	}
}

// eval returns the value of an expression in the page.
func (b *tab) eval(expression string) (value any) {
	b.Helper()
	b.run(chromedp.Evaluate(expression, &value))
	return value
}

// text is what an element says.
func (b *tab) text(selector string) string {
	b.Helper()
	return fmt.Sprint(b.eval(fmt.Sprintf("document.querySelector(%s)?.innerText ?? ''", quote(selector))))
}

// until waits for an expression to be true.
func (b *tab) until(what, expression string) {
	b.Helper()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(patience)
	for b.eval("!!("+expression+")") != true {
		select {
		case <-ticker.C:
		case <-deadline:
			b.Fatalf("not in %s: %s\n%s", patience, what, b.text("body"))
		}
	}
}

// says waits for an element to say something.
func (b *tab) says(selector, part string) {
	b.Helper()
	b.until(selector+" says "+part, fmt.Sprintf("(document.querySelector(%s)?.textContent ?? '').includes(%s)", quote(selector), quote(part)))
}

// click clicks on the middle of an element, as a mouse does.
func (b *tab) click(selector string) {
	b.Helper()
	b.run(chromedp.Click(selector, chromedp.ByQuery))
}

// write enters text where the focus is.
func (b *tab) write(text string) {
	b.Helper()
	b.run(input.InsertText(text))
}

// press presses a key that is no letter.
func (b *tab) press(key string) {
	b.Helper()
	down := input.DispatchKeyEvent(input.KeyDown).WithKey(key)
	switch key {
	case "Enter":
		down = down.WithText("\r").WithCode(key).WithWindowsVirtualKeyCode(13)
	case "Tab":
		down = down.WithCode(key).WithWindowsVirtualKeyCode(9)
	case "Escape":
		down = down.WithCode(key).WithWindowsVirtualKeyCode(27)
	case "ArrowRight":
		down = down.WithCode(key).WithWindowsVirtualKeyCode(39)
	}
	b.run(down, input.DispatchKeyEvent(input.KeyUp).WithKey(key))
}

func quote(s string) string {
	raw, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(raw)
}
