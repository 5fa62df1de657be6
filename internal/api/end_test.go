// SPDX-License-Identifier: MIT

package api

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/shardnode/shardnode/internal/node"
)

// long asks for more tokens than any test waits for: with temperature 0 the tiny model goes round in circles and never ends.
const long = `{"prompt": "the", "temperature": 0, "max_tokens": 30000, "stream": STREAM}`

// ask posts a completion.
func ask(ctx context.Context, url, body string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/v1/completions", strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	return http.DefaultTransport.RoundTrip(req)
}

// readEvents reads the data of n events, or all of them.
func readEvents(t *testing.T, lines *bufio.Scanner, n int) []string {
	t.Helper()
	var list []string
	for len(list) < n && lines.Scan() {
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			list = append(list, data)
		}
	}
	return list
}

const all = 1 << 30

// TestClientGoesAway: when the connection closes, streamed or not, no node has anything of the session 500 ms later.
func TestClientGoesAway(t *testing.T) {
	t.Parallel()
	nodes := startSwarm(t, nil)
	_, url, _ := startServer(t, nodes[0], nil)
	for _, stream := range []string{"true", "false"} {
		best := time.Hour
		for range 3 { // other tests keep this machine busy
			ctx, leave := context.WithCancel(t.Context())
			gone := make(chan struct{})
			go func() {
				defer close(gone)
				r, err := ask(ctx, url, strings.Replace(long, "STREAM", stream, 1))
				if err != nil {
					return // it left before there was an answer
				}
				defer r.Body.Close()
				_, _ = io.Copy(io.Discard, r.Body)
			}()
			eventually(t, "the last node has the session", func() bool { return nodes[2].Health().Memory.KVUsed > 0 })
			leave()
			started := time.Now()
			<-gone
			eventually(t, "the nodes are idle", func() bool { return idle(nodes) })
			best = min(best, time.Since(started))
		}
		t.Logf("stream %s: KV memory free after %s", stream, best)
		if best > 500*time.Millisecond {
			t.Errorf("stream %s: KV memory was free after %s, want 500 ms", stream, best)
		}
	}
}

// TestShutdown: what runs may end, what waits and what comes is refused, and what takes too long is told.
func TestShutdown(t *testing.T) {
	t.Parallel()
	nodes := startSwarm(t, nil)
	s, url, stop := startServer(t, nodes[0], func(c *Config) { c.Parallel, c.DrainTimeout = 1, 300*time.Millisecond })
	r, err := ask(t.Context(), url, strings.Replace(long, "STREAM", "true", 1))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	lines := bufio.NewScanner(r.Body)
	if got := readEvents(t, lines, 2); len(got) != 2 {
		t.Fatalf("events: %q", got)
	}
	waiting := make(chan int, 1)
	go func() {
		r, err := ask(t.Context(), url, `{"prompt": "the"}`)
		if err != nil {
			t.Error(err)
			waiting <- 0
			return
		}
		r.Body.Close()
		waiting <- r.StatusCode
	}()
	eventually(t, "the second request waits", func() bool { _, n := s.queue.load(); return n == 1 })
	stopped := make(chan struct{})
	go func() { defer close(stopped); stop() }()
	if code := <-waiting; code != http.StatusServiceUnavailable {
		t.Errorf("a request that waited: status %d, want 503", code)
	}
	events := readEvents(t, lines, all)
	if len(events) == 0 {
		t.Fatal("the stream has no end")
	}
	if last := events[len(events)-1]; !strings.Contains(last, `"code":"shutting_down"`) {
		t.Errorf("the stream's last event: %s", last)
	}
	<-stopped
	eventually(t, "the nodes are idle", func() bool { return idle(nodes) })
}

// TestShutdownWaits: a short answer is given to its end.
func TestShutdownWaits(t *testing.T) {
	t.Parallel()
	nodes := startSwarm(t, nil)
	_, url, stop := startServer(t, nodes[0], nil)
	r, err := ask(t.Context(), url, `{"prompt": "the", "max_tokens": 300, "stream": true}`)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	lines := bufio.NewScanner(r.Body)
	_ = readEvents(t, lines, 1)
	stop()
	events := readEvents(t, lines, all)
	if n := len(events); n == 0 || events[n-1] != "[DONE]" {
		t.Errorf("%d events, not to the end", n)
	}
}

// TestRequestTimeout: a request that takes longer than it may ends with what it has, and says so.
func TestRequestTimeout(t *testing.T) {
	t.Parallel()
	nodes := startSwarm(t, nil)
	_, url, _ := startServer(t, nodes[0], func(c *Config) { c.RequestTimeout = 400 * time.Millisecond })
	eventually(t, "a model is there", func() bool {
		r, err := http.Get(url + "/v1/models/tiny")
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		return r.StatusCode == http.StatusOK
	})
	for stream, want := range map[string]int{"true": http.StatusOK, "false": http.StatusGatewayTimeout} {
		r, err := ask(t.Context(), url, strings.Replace(long, "STREAM", stream, 1))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil || r.StatusCode != want || !strings.Contains(string(body), `"code":"timeout"`) {
			t.Errorf("stream %s: status %d, %v, want %d", stream, r.StatusCode, err, want)
		}
	}
}

// TestBusySwarm: a swarm of one session serves all who come, one after the other; who would wait too long is told when to come again.
func TestBusySwarm(t *testing.T) {
	t.Parallel()
	nodes := startSwarm(t, func(c *node.Config) { c.MaxSessions = 1 })
	s, url, _ := startServer(t, nodes[0], func(c *Config) { c.QueueTimeout = patience })
	codes := make(chan int)
	for range 3 {
		go func() {
			r, err := ask(t.Context(), url, `{"prompt": "the", "max_tokens": 20}`)
			if err != nil {
				t.Error(err)
				codes <- 0
				return
			}
			r.Body.Close()
			codes <- r.StatusCode
		}()
	}
	for range 3 {
		if code := <-codes; code != http.StatusOK {
			t.Errorf("status %d, want 200", code)
		}
	}
	eventually(t, "nobody runs", func() bool { running, waiting := s.queue.load(); return running+waiting == 0 })

	_, url, _ = startServer(t, nodes[0], func(c *Config) { c.QueueTimeout = 50 * time.Millisecond })
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	r, err := ask(ctx, url, strings.Replace(long, "STREAM", "true", 1))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	_ = readEvents(t, bufio.NewScanner(r.Body), 1)
	refused, err := ask(t.Context(), url, `{"prompt": "the"}`)
	if err != nil {
		t.Fatal(err)
	}
	defer refused.Body.Close()
	body, _ := io.ReadAll(refused.Body)
	if refused.StatusCode != http.StatusTooManyRequests || refused.Header.Get("Retry-After") == "" || !strings.Contains(string(body), `"rate_limit_error"`) {
		t.Errorf("status %d, Retry-After %q: %s", refused.StatusCode, refused.Header.Get("Retry-After"), body)
	}
}
