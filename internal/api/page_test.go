// SPDX-License-Identifier: MIT

package api

import (
	"bufio"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/shardnode/shardnode/internal/node"
	"github.com/shardnode/shardnode/pkg/pipeline"
)

// getAs asks with a key.
func getAs(t *testing.T, url, key, accept string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", accept)
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	r, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Body.Close() })
	return r
}

// TestSwarmView: the swarm as it is, once or as it changes; the server's end is not kept waiting by who watches.
func TestSwarmView(t *testing.T) {
	t.Parallel()
	nodes := startSwarm(t, nil)
	_, url, stop := startServer(t, nodes[0], func(c *Config) { c.DrainTimeout = time.Hour })
	parse := func(text string) *swarmView {
		t.Helper()
		v := &swarmView{}
		if err := json.Unmarshal([]byte(text), v); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		return v
	}
	eventually(t, "the swarm is found", func() bool {
		code, text := get(t, url+"/api/swarm")
		v := parse(text)
		return code == http.StatusOK && len(v.Nodes) == 3 && len(v.Models) == 1 && v.Models[0].Complete && v.Server.Ready && v.Server.Parallel == 16
	})
	r := getAs(t, url+"/api/swarm", "", "text/event-stream")
	if kind := r.Header.Get("Content-Type"); r.StatusCode != http.StatusOK || !strings.HasPrefix(kind, "text/event-stream") {
		t.Fatalf("status %d, %s", r.StatusCode, kind)
	}
	lines := bufio.NewScanner(r.Body)
	if v := parse(readEvents(t, lines, 1)[0]); len(v.Nodes) != 3 || len(v.Models[0].AtRisk) != 3 {
		t.Errorf("the first event: %+v", v)
	}
	startNode(t, "3-7", func(c *node.Config) { c.Bootstrap = []string{address(nodes[0])} })
	for {
		events := readEvents(t, lines, 1)
		if len(events) == 0 {
			t.Fatal("the stream ended, and did not tell of the node that came")
		}
		if v := parse(events[0]); len(v.Nodes) == 4 && len(v.Models[0].AtRisk) == 1 {
			break
		}
	}
	stop()
	readEvents(t, lines, all) // to its end
}

// TestTooManyViewers: each viewer keeps a connection, so there is an end to them.
func TestTooManyViewers(t *testing.T) {
	t.Parallel()
	s, url, _ := startServer(t, startNode(t, "0-7", nil), nil)
	for range maxViews {
		s.viewers.places <- struct{}{}
	}
	if r := getAs(t, url+"/api/swarm", "", "text/event-stream"); r.StatusCode != http.StatusTooManyRequests || r.Header.Get("Retry-After") == "" {
		t.Errorf("status %d, %v", r.StatusCode, r.Header)
	}
	<-s.viewers.places
	if r := getAs(t, url+"/api/swarm", "", "text/event-stream"); r.StatusCode != http.StatusOK {
		t.Errorf("status %d once one has left", r.StatusCode)
	}
}

// TestRecent: where the time of an answer went adds up, and only who asked may see it, for as long as few came later.
func TestRecent(t *testing.T) {
	t.Parallel()
	nodes := startSwarm(t, nil)
	_, url, _ := startServer(t, nodes[0], func(c *Config) {
		c.Keys = must(parseKeys("sk-0123456789abcdef anna\nsk-fedcba9876543210 bert"))
	})
	generate := func() string {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/v1/completions", strings.NewReader(`{"prompt": "the", "temperature": 0, "max_tokens": 20, "n": 2}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer sk-0123456789abcdef")
		r, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		var reply struct{ ID string }
		if err := json.NewDecoder(r.Body).Decode(&reply); err != nil || reply.ID == "" {
			t.Fatalf("status %d, %v", r.StatusCode, err)
		}
		return reply.ID
	}
	id := generate()
	r := getAs(t, url+"/api/requests/"+id, "sk-0123456789abcdef", "")
	raw, err := io.ReadAll(r.Body)
	var trace requestTrace
	if err != nil || json.Unmarshal(raw, &trace) != nil || trace.ID != id || len(trace.Answers) != 2 {
		t.Fatalf("status %d, %v: %s", r.StatusCode, err, raw)
	}
	for _, a := range trace.Answers {
		w := a.Waterfall
		if len(w.Steps) != 20 || w.Tokens != 20 || a.FinishReason != "length" || w.StepsLeftOut != 0 || w.Model != "tiny" {
			t.Errorf("answer %d: %+v", a.Index, a)
		}
		if w.FirstTokenMS <= 0 || w.OpenMS <= 0 || w.TotalMS < w.FirstTokenMS || a.Rate <= 0 {
			t.Errorf("answer %d: %+v", a.Index, a)
		}
		if len(w.Routes) != 1 || len(w.Routes[0].Hops) != 3 || w.Routes[0].Hops[1] != (traceHop{"3-5", nodes[1].Host().ID().String()}) {
			t.Errorf("answer %d went along %+v", a.Index, w.Routes)
		}
		for i, s := range w.Steps {
			sum := s.RecoveryMS + s.CoordinatorMS + s.ReturnMS
			for _, h := range s.Hops {
				sum += h.WireMS + h.QueueMS + h.DecodeMS + h.ComputeMS + h.EncodeMS
			}
			phase := pipeline.PhaseDecode
			if i == 0 {
				phase = pipeline.PhasePrefill
			}
			if math.Abs(sum-s.TotalMS) > 0.01 || s.Phase != phase || len(s.Hops) != 3 || s.Hops[0].ComputeMS <= 0 {
				t.Errorf("answer %d, step %d: %f of %+v", a.Index, i, sum, s)
			}
		}
	}
	if r := getAs(t, url+"/api/requests/"+id, "sk-fedcba9876543210", ""); r.StatusCode != http.StatusNotFound {
		t.Errorf("status %d for another user, want 404", r.StatusCode)
	}
	for range maxRecent {
		generate()
	}
	if r := getAs(t, url+"/api/requests/"+id, "sk-0123456789abcdef", ""); r.StatusCode != http.StatusNotFound {
		t.Errorf("status %d after %d others, want 404", r.StatusCode, maxRecent)
	}
}

// TestTraceIsBounded: a request that is long is remembered in part.
func TestTraceIsBounded(t *testing.T) {
	t.Parallel()
	nodes := startSwarm(t, nil)
	s, url, _ := startServer(t, nodes[0], nil)
	r, err := ask(t.Context(), url, `{"prompt": "the", "temperature": 0, "max_tokens": 2800}`)
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	s.recent.mu.Lock()
	trace := s.recent.list[0]
	s.recent.mu.Unlock()
	<-trace.ended
	if w := trace.Answers[0].Waterfall; len(w.Steps) != maxTraceHops/3 || w.StepsLeftOut != 2800-maxTraceHops/3 || w.Tokens != 2800 {
		t.Errorf("%d steps, %d left out, %d tokens", len(w.Steps), w.StepsLeftOut, w.Tokens)
	}
}
