// SPDX-License-Identifier: MIT

package client

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shardnode/shardnode/internal/node"
	"github.com/shardnode/shardnode/pkg/pipeline"
	"github.com/shardnode/shardnode/pkg/placement"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// healing is a swarm with spares, whose nodes can be stopped by name.
type healingSwarm struct {
	nodes map[string]*node.Node
	stops map[string]func()
	first *node.Node
}

// startHealing starts nodes given as "name:layers".
func startHealing(t *testing.T, change func(*node.Config), specs ...string) *healingSwarm {
	t.Helper()
	s := &healingSwarm{nodes: map[string]*node.Node{}, stops: map[string]func(){}}
	for _, spec := range specs {
		name, layers, _ := strings.Cut(spec, ":")
		n, stop := startNode(t, layers, func(c *node.Config) {
			if s.first != nil {
				c.Bootstrap = []string{address(s.first)}
			}
			if change != nil {
				change(c)
			}
		})
		s.nodes[name], s.stops[name] = n, stop
		if s.first == nil {
			s.first = n
		}
	}
	return s
}

// route makes a target whose hops are the named nodes: which of two replicas is used first must not be left to chance.
func (s *healingSwarm) route(target *Target, names ...string) {
	target.Hops = nil
	for _, name := range names {
		st := s.nodes[name].Status()
		target.Hops = append(target.Hops, protocol.Hop{Peer: st.Peer, Addrs: st.Addrs, Layers: st.Layers})
	}
}

// TestHealing stops nodes of a route while tokens come, or while the prompt goes through, and compares every logit with one pass on one machine.
func TestHealing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		nodes  []string // the first of all is the bootstrap node and in no route
		route  []string
		stop   []string // the nodes, ...
		at     int      // ... after so many steps
		path   protocol.Path
		replay int64 // budget for kept outputs
		healed int   // shards of the route afterwards
		chunk  int
		local  bool // the model's ends are here
	}{
		{name: "first hop", route: []string{"a", "b", "c"}, stop: []string{"a"}, at: 4, healed: 3},
		{name: "middle hop", route: []string{"a", "b", "c"}, stop: []string{"b"}, at: 4, healed: 3},
		{name: "last hop", route: []string{"a", "b", "c"}, stop: []string{"c"}, at: 4, healed: 3},
		{name: "first and last", route: []string{"a", "b", "c"}, stop: []string{"a", "c"}, at: 5, healed: 3},
		{name: "all hops", route: []string{"a", "b", "c"}, stop: []string{"a", "b", "c"}, at: 5, healed: 3},
		{name: "in prefill", route: []string{"a", "b", "c"}, stop: []string{"b"}, at: 2, chunk: 3, healed: 3},
		{name: "relay", route: []string{"a", "b", "c"}, stop: []string{"b"}, at: 4, path: protocol.PathRelay, healed: 3},
		{name: "outputs not kept", route: []string{"a", "b", "c"}, stop: []string{"c"}, at: 4, replay: -1, healed: 3},
		{name: "first hop, local ends", route: []string{"a", "b", "c"}, stop: []string{"a"}, at: 4, healed: 3, local: true},
		{name: "last hop, local ends", route: []string{"a", "b", "c"}, stop: []string{"c"}, at: 4, healed: 3, local: true},
		{name: "all hops in prefill, local ends", route: []string{"a", "b", "c"}, stop: []string{"a", "b", "c"}, at: 2, chunk: 3, healed: 3, local: true},
		{name: "relay, local ends", route: []string{"a", "b", "c"}, stop: []string{"a", "c"}, at: 4, path: protocol.PathRelay, healed: 3, local: true},
		{name: "by two", nodes: []string{"a:0-10", "b:11-20", "c:21-31", "left:9-15", "right:16-25"}, route: []string{"a", "b", "c"}, stop: []string{"b"}, at: 4, healed: 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			specs := c.nodes
			if specs == nil {
				specs = []string{"a:0-10", "b:11-20", "c:21-31", "a2:0-10", "b2:11-20", "c2:21-31"}
			}
			var heard heard
			swarm := startHealing(t, func(cfg *node.Config) {
				cfg.ReplayBudget = c.replay
				heard.listen(cfg)
			}, append([]string{"rest:0-0"}, specs...)...)
			client := join(t, swarm.first, nil)
			selector := Selector{}
			if c.local {
				selector = withEnds()
			}
			target, m := find(t, client, selector)
			view := func() bool { v, err := client.Look(t.Context()); return err == nil && len(v.Nodes) == len(specs)+1 }
			eventually(t, "all nodes are known", view)
			swarm.route(target, c.route...)

			var logits []byte
			var notices []pipeline.Notice
			steps, row, recovering := 0, 0, time.Duration(0)
			req := &Request{Prompt: question, MaxTokens: 8, Path: c.path, ChunkRows: c.chunk, Logits: pipeline.LogitsPrompt}
			r, err := client.Generate(t.Context(), target, m, req, Observer{
				Logits: func(_ []int, rows []byte) { logits = append(logits, rows...) },
				Step: func([]protocol.HopTiming) {
					if steps++; steps == c.at {
						for _, name := range c.stop {
							swarm.stops[name]()
						}
					}
				},
				Notice: func(n pipeline.Notice) { notices = append(notices, n) },
				Trace: func(s *pipeline.StepTrace) {
					sum := s.Coordinator + s.Wire + s.Recovery
					for i := range s.Hops {
						sum += s.Hops[i].Sum()
					}
					if s.Position != row || sum != s.Total || min(s.Coordinator, s.Wire, s.Recovery) < 0 {
						t.Errorf("want row %d next, and parts that make the whole, not %s: %+v", row, sum, s)
					}
					row += s.Rows
					recovering += s.Recovery
				},
			})
			if err != nil {
				t.Fatalf("%v, after %v", err, describe(notices))
			}
			if want := len(r.PromptTokens) + len(r.Tokens) - 1; row != want {
				t.Errorf("%d rows traced, want %d", row, want)
			}
			if inDecode := r.Report.Recoveries[0].Phase == pipeline.PhaseDecode && r.Report.Recoveries[0].Position > len(r.PromptTokens); inDecode && recovering == 0 {
				t.Errorf("no step took part in the recovery %+v", r.Report.Recoveries[0])
			}
			tokens := append(slices.Clone(r.PromptTokens), r.Tokens...)
			if !bytes.Equal(logits, local(t, tokens[:len(tokens)-1], protocol.F16)) {
				t.Errorf("the logits differ from one local pass, after %v", describe(notices))
			}
			if len(r.Report.Recoveries) == 0 || len(r.Report.Shards) != c.healed {
				t.Errorf("%d recoveries and %d shards in the end, want %d; %v", len(r.Report.Recoveries), len(r.Report.Shards), c.healed, describe(notices))
			}
			if c.local {
				heard.quiet(t)
			}
			for name, n := range swarm.nodes {
				if !slices.Contains(c.stop, name) {
					eventually(t, "KV memory is freed at "+name, func() bool { s := n.Engine().Stats(); return s.KVUsed == 0 && s.KeptUsed == 0 })
				}
			}
		})
	}
}

func describe(notices []pipeline.Notice) []string {
	var list []string
	for _, n := range notices {
		switch n := n.(type) {
		case pipeline.NoticeRecovered:
			list = append(list, fmt.Sprintf("recovered: %+v", *n.Recovery))
		default:
			list = append(list, fmt.Sprintf("%T%+v", n, n))
		}
	}
	return list
}

// TestNobodyTakesOver: without a replica the generation says what is missing, waits, and goes on when a node comes; without one it fails by name. Told to
// fail at once, it does.
func TestNobodyTakesOver(t *testing.T) {
	t.Parallel()
	swarm := startHealing(t, nil, "a:0-15", "b:16-31")
	client := join(t, swarm.first, nil)
	target, m := find(t, client, Selector{})
	want, err := client.Generate(t.Context(), target, m, &Request{Prompt: question, MaxTokens: 6}, Observer{})
	if err != nil {
		t.Fatal(err)
	}
	generate := func(req *Request, wait func(error)) (*Result, error) {
		steps := 0
		return client.Generate(t.Context(), target, m, req, Observer{
			Step: func([]protocol.HopTiming) {
				if steps++; steps == 4 { // one of rows that are known, one of the prompt's last, two of tokens
					swarm.stops["b"]()
				}
			},
			Notice: func(n pipeline.Notice) {
				if w, ok := n.(pipeline.NoticeWaiting); ok && wait != nil {
					wait(w.Err)
				}
			},
		})
	}
	r, err := generate(&Request{Prompt: question, MaxTokens: 6}, func(why error) {
		var none *placement.NoRouteError
		if !errors.As(why, &none) || len(none.Missing) != 1 || none.Missing[0] != (protocol.LayerRange{From: 16, To: 32}) {
			t.Errorf("waiting because of %v", why)
		}
		if swarm.nodes["b2"] == nil {
			swarm.nodes["b2"], swarm.stops["b"] = startNode(t, "16-31", func(c *node.Config) { c.Bootstrap = []string{address(swarm.first)} })
		}
	})
	if err != nil || !slices.Equal(r.Tokens, want.Tokens) {
		t.Fatalf("tokens %v, %v, want %v", r.Tokens, err, want.Tokens)
	}

	target, _ = find(t, client, Selector{})
	for _, c := range []struct {
		req  *Request
		want string
	}{
		{&Request{Prompt: question, MaxTokens: 6, FailFast: true}, ""},
		{&Request{Prompt: question, MaxTokens: 6, RecoverTimeout: 1500 * time.Millisecond}, "no replacement in 1.5s: no route: no node takes layers 16-31"},
	} {
		r, err := generate(c.req, nil)
		var failed *pipeline.FailedError
		if !errors.As(err, &failed) {
			t.Fatalf("%v", err)
		}
		if failed.Hop == nil || failed.Hop.Layers.From != 16 || failed.Shard != 2 || failed.Phase != pipeline.PhaseDecode || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
		if n := len(r.Tokens); n < 3 || !slices.Equal(r.Tokens, want.Tokens[:n]) {
			t.Errorf("the result has tokens %v, want the first of %v", r.Tokens, want.Tokens)
		}
		swarm.nodes["b3"], swarm.stops["b"] = startNode(t, "16-31", func(c *node.Config) { c.Bootstrap = []string{address(swarm.first)} })
		target, _ = find(t, client, Selector{})
	}
	eventually(t, "KV memory is freed", func() bool { return swarm.nodes["a"].Engine().Stats().KVUsed == 0 })
}

// TestBusyReplica: a replica that has no room refuses; another one is asked, and the next request does not try the first again at once.
func TestBusyReplica(t *testing.T) {
	t.Parallel()
	swarm := startHealing(t, nil, "a:0-15", "b:16-31")
	full, _ := startNode(t, "16-31", func(c *node.Config) {
		c.Bootstrap, c.KVBudget = []string{address(swarm.first)}, 1<<10
	})
	client := join(t, swarm.first, nil)
	target, m := find(t, client, Selector{})
	eventually(t, "all nodes are known", func() bool { v, err := client.Look(t.Context()); return err == nil && len(v.Nodes) == 3 })
	swarm.nodes["full"] = full
	swarm.route(target, "a", "full")
	var lost []string
	r, err := client.Generate(t.Context(), target, m, &Request{Prompt: question, MaxTokens: 3}, Observer{Notice: func(n pipeline.Notice) {
		if l, ok := n.(pipeline.NoticeLost); ok {
			lost = append(lost, l.Hop.Peer)
		}
	}})
	if err != nil || len(r.Tokens) != 3 {
		t.Fatalf("%v, %v", r, err)
	}
	if !slices.Equal(lost, []string{full.Host().ID().String()}) {
		t.Errorf("hops given up: %v, want the full one", lost)
	}
	again, _ := find(t, client, Selector{})
	for _, h := range again.Hops {
		if h.Peer == full.Host().ID().String() {
			t.Error("the node that has just refused is in the next route")
		}
	}
}

// The death of a node that many generations use is noted once, though each finds out, and one of them looks for replacements twice.
func TestOneDeathIsNotedOnce(t *testing.T) {
	t.Parallel()
	const peer = "12D3KooW"
	c := new(Client)
	standing := func() (placement.Standing, time.Duration) {
		cands := []placement.Candidate{{Peer: peer, Asked: time.Now().Add(time.Hour)}} // it answers again
		c.judge(cands)
		return cands[0].Standing, time.Until(cands[0].Until)
	}
	var generations []*dialer
	for range 8 {
		d := newDialer(c, nil)
		d.use(peer)
		d.use(peer) // the next epoch
		generations = append(generations, d)
	}
	for _, d := range generations {
		d.note(peer, placement.OutcomeFailed)
		d.note(peer, placement.OutcomeFailed)
	}
	// After a first failure it is a stopgap for 15 s, after a second it would not be tried now.
	if s, left := standing(); s != placement.StandingDoubtful || left > 15*time.Second {
		t.Errorf("standing %d for %v, want that of a node that failed once", s, left)
	}
	again := newDialer(c, nil)
	again.use(peer)
	again.note(peer, placement.OutcomeFailed)
	if s, left := standing(); s != placement.StandingCooldown && left < 20*time.Second {
		t.Errorf("standing %d, want that of a node that failed when it was tried again", s)
	}
	again.use(peer)
	again.note(peer, placement.OutcomeOK)
	if s, _ := standing(); s != placement.StandingOK {
		t.Errorf("standing %d of a node that served", s)
	}
}
