// SPDX-License-Identifier: MIT

package api

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/shardnode/shardnode/internal/node"
)

// TestStreamsDropped: streams that are opened and dropped at any moment leave nothing at any node, and those beside them say what they say alone.
// SHARDNODE_STREAMS is how many; make soak has 1,000.
func TestStreamsDropped(t *testing.T) {
	t.Parallel()
	streams := 120
	if n, err := strconv.Atoi(os.Getenv("SHARDNODE_STREAMS")); err == nil {
		streams = n
	}
	nodes := startSwarm(t, func(c *node.Config) { c.KVBudget = 8 << 20 })
	_, url, _ := startServer(t, nodes[0], func(c *Config) { c.QueueTimeout = patience })
	whole := func(ctx context.Context) (string, error) {
		r, err := ask(ctx, url, `{"prompt": "once upon a time", "temperature": 0.8, "seed": 7, "max_tokens": 60}`)
		if err != nil {
			return "", err
		}
		defer r.Body.Close()
		body, err := io.ReadAll(r.Body)
		if err == nil && r.StatusCode != http.StatusOK {
			err = fmt.Errorf("status %d: %s", r.StatusCode, body)
		}
		_, text, _ := strings.Cut(string(body), `"text":`)
		return text, err
	}
	want, err := whole(t.Context())
	if err != nil || want == "" {
		t.Fatalf("alone: %q, %v", want, err)
	}
	want, _, _ = strings.Cut(want, `"usage"`)
	dropping := make(chan struct{})
	var survivors, droppers sync.WaitGroup
	for range 3 {
		survivors.Go(func() {
			for more := true; more; {
				got, err := whole(t.Context())
				if got, _, _ = strings.Cut(got, `"usage"`); err != nil || got != want {
					t.Errorf("beside streams that come and go: %q, %v, want %q", got, err, want)
					return
				}
				select {
				case <-dropping:
					more = false
				default:
				}
			}
		})
	}
	left := make(chan int, streams)
	for i := range streams {
		left <- i
	}
	close(left)
	for range 8 {
		droppers.Go(func() {
			for i := range left {
				random := rand.New(rand.NewPCG(uint64(i), 1))
				ctx, leave := context.WithCancel(t.Context())
				body := fmt.Sprintf(`{"prompt": "%s", "temperature": 0, "max_tokens": 3000, "stream": true}`, strings.Repeat("the ", 1+random.IntN(60)))
				if random.IntN(4) == 0 {
					go leave() // at once
				}
				if r, err := ask(ctx, url, body); err == nil {
					_ = readEvents(t, bufio.NewScanner(r.Body), random.IntN(6))
					leave()
					r.Body.Close()
				}
				leave()
			}
		})
	}
	droppers.Wait()
	close(dropping)
	survivors.Wait()
	eventually(t, "the nodes are idle", func() bool { return idle(nodes) })
}

// TestHundredClients: of a hundred who ask a swarm at once that has room for sixteen, each is served or told when to come again.
func TestHundredClients(t *testing.T) {
	t.Parallel()
	nodes := startSwarm(t, func(c *node.Config) { c.MaxSessions = 16 })
	_, url, _ := startServer(t, nodes[0], func(c *Config) { c.Parallel, c.QueueLength, c.QueueTimeout = 100, 20, patience })
	var all sync.WaitGroup
	var mu sync.Mutex
	codes := map[int]int{}
	for range 100 {
		all.Go(func() {
			r, err := ask(t.Context(), url, `{"prompt": "the", "max_tokens": 10}`)
			if err != nil {
				t.Error(err)
				return
			}
			defer r.Body.Close()
			if r.StatusCode == http.StatusTooManyRequests && r.Header.Get("Retry-After") == "" {
				t.Error("told to come again, but not when")
			}
			if r.StatusCode != http.StatusOK && r.StatusCode != http.StatusTooManyRequests {
				body, _ := io.ReadAll(r.Body)
				t.Errorf("status %d: %s", r.StatusCode, body)
			}
			mu.Lock()
			defer mu.Unlock()
			codes[r.StatusCode]++
		})
	}
	all.Wait()
	t.Logf("answers by status: %v", codes)
	if codes[http.StatusOK] < 16 {
		t.Errorf("%d served of the 16 that there is room for", codes[http.StatusOK])
	}
	eventually(t, "the nodes are idle", func() bool { return idle(nodes) })
}
