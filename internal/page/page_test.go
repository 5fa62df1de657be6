// SPDX-License-Identifier: MIT

package page_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/shardnode/shardnode/internal/api"
	"github.com/shardnode/shardnode/internal/node"
	"github.com/shardnode/shardnode/internal/page"
	"github.com/shardnode/shardnode/internal/statedir"
)

// TestFiles: every file comes with its type and the policy, is not sent twice, and none asks for anything from elsewhere.
func TestFiles(t *testing.T) {
	t.Parallel()
	names, err := filepath.Glob("static/*")
	if err != nil || len(names) < 5 {
		t.Fatal(names, err)
	}
	elsewhere := regexp.MustCompile(`(?:https?:)?//[a-z0-9][a-z0-9.-]*\.[a-z]|innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|\bon\w+="|style="|<script>|<style>`)
	for _, name := range names {
		url := "/page/" + filepath.Base(name)
		if strings.HasSuffix(name, "index.html") {
			url = "/"
		}
		get := func(etag string) *httptest.ResponseRecorder {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("If-None-Match", etag)
			w := httptest.NewRecorder()
			page.Handler().ServeHTTP(w, r)
			return w
		}
		r := get("")
		if r.Code != http.StatusOK || r.Header().Get("Content-Type") == "" || !strings.Contains(r.Header().Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s: status %d, %v", url, r.Code, r.Header())
		}
		if again := get(r.Header().Get("ETag")); again.Code != http.StatusNotModified {
			t.Errorf("%s: status %d for one who has it, want 304", url, again.Code)
		}
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if found := elsewhere.FindString(strings.ReplaceAll(string(raw), "http://www.w3.org/2000/svg", "")); found != "" {
			t.Errorf("%s has %q: the page asks nobody else and makes no markup of text", name, found)
		}
	}
}

// swarm starts three nodes that hold the tiny model together, and a server.
func swarm(t *testing.T, change func(*api.Config)) (nodes []*member, url string, stop func()) {
	t.Helper()
	for _, layers := range []string{"0-2", "3-5", "6-7"} {
		nodes = append(nodes, join(t, tiny(), layers, nodes[:min(1, len(nodes))], nil))
	}
	url, stop = serve(t, nodes, change)
	return nodes, url, stop
}

// settle waits until the page has found the swarm.
func (b *tab) settle(nodes int) {
	b.Helper()
	b.says("#health", fmt.Sprintf("ready, %d nodes", nodes))
}

// show goes to a view.
func (b *tab) show(view string) {
	b.Helper()
	b.eval("location.hash = " + quote(view))
	b.until("the view is shown", "document.body.dataset.view === "+quote(view))
}

// set fills a field of the settings.
func (b *tab) set(field, value string) {
	b.Helper()
	b.eval(fmt.Sprintf("document.getElementById(%s).value = %s", quote(field), quote(value)))
}

// answered waits until the n-th answer is complete.
func (b *tab) answered(n int) {
	b.Helper()
	b.until(fmt.Sprintf("answer %d is complete", n), fmt.Sprintf("document.querySelectorAll('.assistant[aria-busy=false] .facts').length === %d", n))
}

// TestChat: a question is asked and answered with the keyboard alone; the answer comes in pieces, is what the API says, and outlives a reload.
func TestChat(t *testing.T) {
	t.Parallel()
	_, url, _ := swarm(t, nil)
	b := open(t, url, desktop, "light")
	b.settle(3)
	if got := b.eval("document.activeElement.id"); got != "prompt" {
		t.Errorf("the focus is on %v, want the message field", got)
	}
	b.set("max_tokens", "120")
	b.eval(`window.lengths = new Set();
		new MutationObserver(() => window.lengths.add(document.querySelector('.assistant .text')?.textContent.length)).observe(document.getElementById('log'), {childList: true, subtree: true})`)
	b.write("<img src=x onerror=alert(1)> **Hi**")
	b.press("Enter")
	b.answered(1)
	if n, _ := b.eval("window.lengths.size").(float64); n < 5 {
		t.Errorf("the answer was drawn %v times: it did not come in pieces", n)
	}
	if got := b.text(".user"); got != "<img src=x onerror=alert(1)> **Hi**" {
		t.Errorf("the question is shown as %q", got)
	}
	want := complete(t, url, `{"messages": [{"role": "user", "content": "<img src=x onerror=alert(1)> **Hi**"}], "temperature": 0, "max_tokens": 120}`)
	if got := b.eval("JSON.parse(sessionStorage.getItem('shardnode.chat'))[1].content"); got != want {
		t.Errorf("the answer is %q, want %q", got, want)
	}
	b.says(".facts", "120 tokens")
	b.says(".facts", "cut at the most tokens")
	b.says("#progress", "Answer complete: 120 tokens.")

	// Where the time went.
	b.until("the waterfall is drawn", "document.querySelectorAll('.waterfall .hop small').length === 3")
	b.says("#request-sum", "tiny · ")
	b.show("request")
	b.run(chromedp.Focus("#token", chromedp.ByQuery))
	before := b.text(".tokens h3 span")
	b.press("ArrowRight")
	b.until("another token is chosen", "document.querySelector('.tokens h3 span').innerText !== "+quote(before))

	b.run(chromedp.Reload())
	b.until("both turns are there again", "document.querySelectorAll('.turn').length === 2")
	b.settle(3)
	b.show("chat")
	b.click("#reset")
	b.until("an empty conversation", "document.querySelectorAll('.turn').length === 0 && document.querySelector('#welcome').offsetHeight > 0")
}

// TestStop: an answer that is stopped stays, and the nodes are free.
func TestStop(t *testing.T) {
	t.Parallel()
	nodes, url, _ := swarm(t, nil)
	b := open(t, url, desktop, "light")
	b.settle(3)
	for _, stop := range []func(){func() { b.click("#stop") }, func() { b.press("Escape") }} {
		b.set("max_tokens", "20000")
		b.write("Go on")
		b.press("Enter")
		b.until("an answer comes", "document.querySelector('.assistant:last-child .text')?.textContent.length > 50")
		stop()
		b.answered(1)
		b.says("#progress", "Stopped.")
		b.says(".assistant:last-child .facts", "stopped")
		b.until("the field has the focus", "document.activeElement.id === 'prompt'")
		b.until("its time is shown", "document.querySelector('#trace').dataset.request === document.querySelector('.assistant:last-child').dataset.request")
		eventually(t, "the nodes are idle", func() bool {
			for _, m := range nodes {
				if m.Health().Sessions != 0 {
					return false
				}
			}
			return true
		})
		b.click("#reset")
	}
}

// TestErrors: what the server refuses, and that it is gone, is said where one looks, and can be tried again.
func TestErrors(t *testing.T) {
	t.Parallel()
	_, url, stop := swarm(t, nil)
	b := open(t, url, desktop, "light")
	b.settle(3)
	b.eval("document.getElementById('temperature').max = 1000")
	b.set("temperature", "500")
	b.write("Hi")
	b.press("Enter")
	b.says(".fault[role=alert]", "temperature: 500 is out of range")
	b.expect("400")
	b.set("temperature", "0")
	b.set("max_tokens", "5")
	b.click(".fault button")
	b.answered(1)

	stop()
	b.says("#health", "coordinator not reached")
	b.write("Still there?")
	b.press("Enter")
	b.says(".fault[role=alert]", "The coordinator does not answer.")
	b.expect("ERR_")
}

// TestNodeLost: a node that goes is seen, in the grid and by those who wait for an answer; when it is back, the answer goes on.
func TestNodeLost(t *testing.T) {
	t.Parallel()
	key := must(statedir.Identity(filepath.Join(t.TempDir(), "key")))
	first := join(t, tiny(), "0-2", nil, nil)
	start := func() *member {
		return join(t, tiny(), "3-5", []*member{first}, func(c *node.Config) { c.Key = key })
	}
	middle, last := start(), join(t, tiny(), "6-7", []*member{first}, nil)
	url, _ := serve(t, []*member{first, middle, last}, nil)
	b := open(t, url, desktop, "light")
	b.settle(3)
	b.until("one copy of each layer", "document.querySelectorAll('.copies.risk').length === 8")
	b.set("max_tokens", "20000")
	b.write("Go on")
	b.press("Enter")
	b.until("an answer comes", "document.querySelector('.assistant:last-child .text')?.textContent.length > 50")

	middle.stop()
	b.says("#health", "layers 3–5 missing")
	b.until("the gap is shown", "document.querySelectorAll('.copies.gap').length === 3 && document.querySelectorAll('.node[data-state=lost] .cell.lost').length === 3")
	b.says("#swarm-news", "Nobody serves layers 3–5 of tiny.")
	b.says("#progress", "nobody serves layers 3–5")
	length := b.eval("document.querySelector('.assistant .text').textContent.length")

	start()
	b.settle(3)
	b.until("no gap is shown", "document.querySelectorAll('.copies.gap, .node[data-state=lost]').length === 0")
	b.says("#swarm-news", "is back with layers 3–5")
	b.until("the answer goes on", fmt.Sprintf("document.querySelector('.assistant .text').textContent.length > %v", length))
	b.click("#stop")
	b.answered(1)

	b.click(".node button")
	b.says(".more", first.Host().ID().String())
	b.until("said to be open", "document.querySelector('.node button').getAttribute('aria-expanded') === 'true'")
}

// TestKeys: a page of a server with keys asks for one, keeps it in the tab, and asks again when it is not known.
func TestKeys(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(file, []byte("sk-0123456789abcdef anna\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, url, _ := swarm(t, func(c *api.Config) { c.Keys = must(api.ReadKeys(file)) })
	b := open(t, url, desktop, "light")
	b.until("it asks for a key", "document.getElementById('key-dialog').open && document.activeElement.id === 'key'")
	b.write("sk-of-somebody-else")
	b.press("Enter")
	b.says("#key-error", "This key is not known here.")
	b.write("sk-0123456789abcdef")
	b.press("Enter")
	b.settle(3)
	b.set("max_tokens", "5")
	b.run(chromedp.Focus("#prompt", chromedp.ByQuery))
	b.write("Hi")
	b.press("Enter")
	b.answered(1)
	if got := b.eval("[localStorage.length, document.cookie, sessionStorage.getItem('shardnode.key')].join()"); got != "0,,sk-0123456789abcdef" {
		t.Errorf("kept: %v", got)
	}
	b.expect("401")
}

// complete asks the API for a whole answer.
func complete(t *testing.T, url, body string) string {
	t.Helper()
	r, err := http.Post(url+"v1/chat/completions", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	var answer struct {
		Choices []struct{ Message struct{ Content string } }
	}
	if err := json.NewDecoder(r.Body).Decode(&answer); err != nil || len(answer.Choices) != 1 {
		t.Fatalf("status %d, %v, %v", r.StatusCode, answer, err)
	}
	return answer.Choices[0].Message.Content
}

// eventually waits until ok holds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(patience)
	for !ok() {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("not in %s: %s", patience, what)
		}
	}
}
