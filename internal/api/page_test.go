// SPDX-License-Identifier: MIT

package api

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/shardnode/shardnode/internal/client"
	"github.com/shardnode/shardnode/internal/node"
	"github.com/shardnode/shardnode/pkg/pipeline"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// getAs asks with a key. The body is closed when the test ends.
func getAs(t *testing.T, url, key, accept string) (status int, header http.Header, body io.Reader) {
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
	return r.StatusCode, r.Header, r.Body
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
	status, header, body := getAs(t, url+"/api/swarm", "", "text/event-stream")
	if kind := header.Get("Content-Type"); status != http.StatusOK || !strings.HasPrefix(kind, "text/event-stream") {
		t.Fatalf("status %d, %s", status, kind)
	}
	lines := bufio.NewScanner(body)
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
	if status, header, _ := getAs(t, url+"/api/swarm", "", "text/event-stream"); status != http.StatusTooManyRequests || header.Get("Retry-After") == "" {
		t.Errorf("status %d, %v", status, header)
	}
	<-s.viewers.places
	if status, _, _ := getAs(t, url+"/api/swarm", "", "text/event-stream"); status != http.StatusOK {
		t.Errorf("status %d once one has left", status)
	}
}

// TestRecent: where the time of an answer went adds up, and only who asked may see it, for as long as few came later.
func TestRecent(t *testing.T) {
	t.Parallel()
	nodes := startSwarm(t, nil)
	_, url, _ := startServer(t, nodes[0], func(c *Config) {
		c.Keys = must(parseKeys("sk-0123456789abcdef anna\nsk-fedcba9876543210 bert"))
	})
	generate := func(tokens int) string {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/v1/completions", strings.NewReader(fmt.Sprintf(`{"prompt": "the", "temperature": 0, "max_tokens": %d, "n": 2}`, tokens)))
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
	id := generate(20)
	status, _, body := getAs(t, url+"/api/requests/"+id, "sk-0123456789abcdef", "")
	raw, err := io.ReadAll(body)
	var trace requestTrace
	if err != nil || json.Unmarshal(raw, &trace) != nil || trace.ID != id || len(trace.Answers) != 2 {
		t.Fatalf("status %d, %v: %s", status, err, raw)
	}
	for _, a := range trace.Answers {
		w := a.Waterfall
		if len(w.Steps) != 20 || w.Tokens != 20 || a.FinishReason != "length" || w.StepsLeftOut != 0 || w.Model != "tiny" {
			t.Errorf("answer %d: %+v", a.Index, a)
		}
		if w.FirstTokenMS <= 0 || w.OpenMS <= 0 || w.TotalMS < w.FirstTokenMS || a.Rate <= 0 {
			t.Errorf("answer %d: %+v", a.Index, a)
		}
		if len(w.Routes) != 1 || len(w.Routes[0].Hops) != 3 || w.Routes[0].Hops[1].Layers != "3-5" || w.Routes[0].Hops[1].Peer != nodes[1].Host().ID().String() {
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
			if math.Abs(sum-s.TotalMS) > 0.01 || s.Phase != string(phase) || len(s.Hops) != 3 || s.Hops[0].ComputeMS <= 0 {
				t.Errorf("answer %d, step %d: %f of %+v", a.Index, i, sum, s)
			}
		}
	}
	if status, _, _ := getAs(t, url+"/api/requests/"+id, "sk-fedcba9876543210", ""); status != http.StatusNotFound {
		t.Errorf("status %d for another user, want 404", status)
	}
	for range maxRecent {
		generate(1)
	}
	if status, _, _ := getAs(t, url+"/api/requests/"+id, "sk-0123456789abcdef", ""); status != http.StatusNotFound {
		t.Errorf("status %d after %d others, want 404", status, maxRecent)
	}
}

// TestTraceIsBounded: of a request that is long the first steps are remembered, whichever answers they are of.
func TestTraceIsBounded(t *testing.T) {
	t.Parallel()
	j := &job{user: "anna", prompts: []*client.Prepared{{Tokens: []protocol.TokenID{1, 2}}}, params: &params{n: 2}}
	trace := (&recent{}).begin("cmpl-", j)
	for _, a := range trace.Answers {
		a.start()
	}
	route := []protocol.Hop{{Peer: "p", Layers: protocol.LayerRange{To: 4}}, {Peer: "q", Layers: protocol.LayerRange{From: 4, To: 8}}}
	const kept, more = maxTraceHops / 4, 10
	for range kept + more {
		for _, a := range trace.Answers {
			a.steps.Add(&pipeline.StepTrace{Route: route, Phase: pipeline.PhaseDecode, Hops: make([]pipeline.HopTrace, 2)})
		}
	}
	for i, a := range trace.Answers {
		a.end(&client.Result{Target: &client.Target{}, Report: &pipeline.Report{}}, nil, func([]protocol.Hop) []time.Duration { return nil })
		if w := a.Waterfall; len(w.Steps) != kept || w.StepsLeftOut != more || len(w.Routes) != 1 || w.Decode.Steps != kept+more {
			t.Errorf("answer %d: %d steps, %d left out, %d routes", i, len(w.Steps), w.StepsLeftOut, len(w.Routes))
		}
	}
}
