// SPDX-License-Identifier: MIT

package engine

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shardnode/shardnode/pkg/pipeline"
	"github.com/shardnode/shardnode/pkg/placement"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// TestSimulation runs generations over toy nodes that keep to this package's rules, with the coordinator's real state machine, in virtual time,
// while nodes are killed, frozen, cut off, restarted, drained and joined, and frames get lost, come twice or come from an older life of
// the route. Every generation has to end with exactly the tokens and logits of one machine; where no node can take over, with the error
// that says so; and no session may be left anywhere. The schedule is a function of the seed:
//
//	SHARDNODE_SIM_SEED=123 go test ./pkg/engine -run TestSimulation -v      runs one and shows what happened
//	SHARDNODE_SIM_SCHEDULES=100000 go test ./pkg/engine -run TestSimulation   runs as many
func TestSimulation(t *testing.T) {
	t.Parallel()
	schedules, first := 10_000, rand.Uint64()>>16
	if testing.Short() {
		schedules = 1000
	}
	if n, err := strconv.Atoi(os.Getenv("SHARDNODE_SIM_SCHEDULES")); err == nil {
		schedules = n
	}
	if seed, err := strconv.ParseUint(os.Getenv("SHARDNODE_SIM_SEED"), 10, 64); err == nil {
		s := newSimSchedule(seed)
		problem := s.run()
		t.Log("\n" + s.w.story())
		if problem != "" {
			t.Errorf("seed %d: %s", seed, problem)
		}
		return
	}
	t.Logf("%d schedules from seed %d on", schedules, first)
	var next, failures atomic.Uint64
	var mu sync.Mutex
	var total simTotals
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for {
				i := next.Add(1) - 1
				if i >= uint64(schedules) || failures.Load() >= 3 {
					return
				}
				s := newSimSchedule(first + i)
				problem := s.run()
				mu.Lock()
				total.add(s)
				mu.Unlock()
				if problem != "" {
					failures.Add(1)
					t.Errorf("seed %d: %s\n%s", first+i, problem, s.w.story())
				}
			}
		})
	}
	workers.Wait()
	t.Logf("%+v", total)
	if failures.Load() == 0 && (total.Healed == 0 || total.Replayed == 0 || total.Moved == 0 || total.Known == 0 || total.Failed == 0 || total.Stale == 0 || total.Duplicates == 0) {
		t.Errorf("the schedules are too kind: %+v", total)
	}
}

// simTotals is what happened in all schedules.
type simTotals struct {
	Generations, Done, Failed, Died, Healed, Epochs, Replayed, Moved, Known, Stale, Duplicates int
}

func (t *simTotals) add(s *simSchedule) {
	for _, c := range s.coordinators {
		t.Generations++
		if c.dead {
			t.Died++
		}
		switch c.state.Phase() {
		case pipeline.PhaseDone:
			t.Done++
		case pipeline.PhaseFailed:
			t.Failed++
		}
		t.Healed += c.recoveries
		t.Epochs += int(c.state.Epoch())
		t.Known += c.state.Report().CachedTokens
		for _, r := range c.state.Report().Recoveries {
			t.Replayed += r.Replayed
		}
	}
	t.Stale += s.w.stale
	t.Duplicates += s.w.duplicates
	t.Moved += s.w.moved
}

// simSchedule is one run.
type simSchedule struct {
	w            *simWorld
	coordinators []*simCoordinator
	doomed       protocol.LayerRange // layers whose only node dies for good; empty: none
}

func newSimSchedule(seed uint64) *simSchedule {
	r := rand.New(rand.NewPCG(seed, 0x51a7))
	w := &simWorld{rng: r, cuts: map[[2]string]bool{}, deaf: map[string]time.Duration{}, layers: 1 + r.IntN(9)}
	w.latency = []time.Duration{200 * time.Microsecond, 2 * time.Millisecond, 25 * time.Millisecond}[r.IntN(3)]
	if r.IntN(3) == 0 {
		w.chaos = simChaos{lose: 0.003, twice: 0.05, old: 0.2, forged: 0.3}
	}
	s := &simSchedule{w: w}
	route := s.makeNodes()
	for i := range 1 + r.IntN(3) {
		s.makeCoordinator(i, route)
	}
	s.makeFaults()
	return s
}

// makeNodes makes the nodes of a route, and spares whose ranges lie as they like. It returns the route.
func (s *simSchedule) makeNodes() []protocol.Hop {
	w, r := s.w, s.w.rng
	var route []protocol.Hop
	add := func(name string, layers protocol.LayerRange) *simNode {
		n := &simNode{
			w: w, peer: name, layers: layers, step: w.between(100*time.Microsecond, 20*time.Millisecond), slots: 8,
			replay: []int64{1 << 20, 0, int64(r.IntN(200))}[r.IntN(3)],
		}
		w.nodes = append(w.nodes, n)
		n.boot()
		return n
	}
	for from := 0; from < w.layers; {
		to := from + 1 + r.IntN(w.layers-from)
		layers := protocol.LayerRange{From: from, To: to}
		n := add(fmt.Sprintf("n%d", from), layers)
		route = append(route, protocol.Hop{Peer: n.peer, Layers: layers})
		from = to
	}
	for i := range 1 + r.IntN(2*len(route)) {
		from := r.IntN(w.layers)
		add(fmt.Sprintf("spare%d", i), protocol.LayerRange{From: from, To: from + 1 + r.IntN(w.layers-from)})
	}
	return route
}

func (s *simSchedule) makeCoordinator(i int, route []protocol.Hop) {
	w, r := s.w, s.w.rng
	c := &simCoordinator{w: w, name: fmt.Sprintf("coordinator%d", i), seen: map[string]time.Time{}}
	for _, n := range w.nodes {
		c.seen[n.peer] = w.clock()
	}
	c.cfg = pipeline.Config{
		Session: protocol.SessionID{byte(i + 1)}, Wire: protocol.F32, Route: route, Context: 64, ChunkRows: 1 + r.IntN(8),
		Logits: pipeline.LogitsWanted(r.IntN(3)), StepTimeout: 20 * time.Second, Recover: r.IntN(20) > 0, RecoverTimeout: 20 * time.Second,
		Numerics: "sim",
	}
	if r.IntN(3) == 0 {
		c.cfg.Path = protocol.PathRelay
	}
	var rounds []uint32
	if r.IntN(2) == 0 {
		c.cfg.Wire = protocol.F16
		for _, h := range route[1:] {
			rounds = append(rounds, uint32(h.Layers.From))
		}
	}
	c.req = protocol.InferenceRequest{MaxTokens: uint32(1 + r.IntN(12)), Sampling: protocol.Sampling{Seed: r.Uint64()}}
	for range 1 + r.IntN(24) {
		c.req.Tokens = append(c.req.Tokens, protocol.TokenID(r.IntN(toyVocab)))
	}
	c.wantTokens, c.wantLogits = toyReference(c.req.Tokens, int(c.req.MaxTokens), w.layers, rounds, c.req.Sampling.Seed)
	if r.IntN(3) == 0 {
		c.cfg.Numerics += protocol.LocalEnds
		c.ends = pipeline.NewEnds(pipeline.EndsConfig{Model: toyEnds{}, Hidden: toyHidden, Vocab: toyVocab, Sampling: c.req.Sampling, Draw: toyEnds{}.draw})
	}
	s.coordinators = append(s.coordinators, c)
	w.after(w.between(0, 300*time.Millisecond), c.start)
}

// makeFaults decides what goes wrong when. After a few seconds everything that is down comes up again, but for what is doomed.
func (s *simSchedule) makeFaults() {
	w, r := s.w, s.w.rng
	if r.IntN(12) == 0 {
		s.doom()
	}
	for range r.IntN(8) {
		at := w.between(0, 3*time.Second)
		if r.IntN(2) == 0 {
			at = w.between(0, 500*time.Millisecond) // while most generations are young
		}
		n := w.nodes[r.IntN(len(w.nodes))]
		back := w.between(50*time.Millisecond, 4*time.Second)
		hosts := []simHost{}
		for _, c := range s.coordinators {
			hosts = append(hosts, c)
		}
		pick := r.IntN(8)
		other := w.nodes[r.IntN(len(w.nodes))]
		who := r.IntN(len(hosts) + 1)
		switch pick {
		case 0, 1, 2:
			w.after(at, n.kill)
			w.after(at+back, n.reboot(s))
		case 3, 4:
			w.after(at, func() { n.freeze(back) })
		case 5:
			w.after(at, func() {
				var a simHost
				if who < len(hosts) {
					a = hosts[who]
				} else if other.life != nil {
					a = other.life
				}
				if n.life != nil && a != nil {
					w.partition(a, n.life, back)
				}
			})
		case 6:
			w.after(at, func() { n.leave(back) })
			w.after(at+back+w.between(10*time.Millisecond, time.Second), n.reboot(s))
		case 7:
			w.after(at, func() {
				from := int(at) % w.layers
				late := &simNode{w: w, peer: fmt.Sprintf("late%d", len(w.nodes)), layers: protocol.LayerRange{From: from, To: w.layers}, step: n.step, slots: 8, replay: 1 << 20}
				w.nodes = append(w.nodes, late)
				late.boot()
			})
		}
	}
	if r.IntN(15) == 0 {
		c := s.coordinators[r.IntN(len(s.coordinators))]
		w.after(w.between(0, time.Second), c.die)
	}
}

// reboot starts the node again, unless its layers are doomed.
func (n *simNode) reboot(s *simSchedule) func() {
	var up func()
	up = func() {
		switch {
		case s.doomed.Len() > 0 && touches(n.layers, s.doomed):
		case n.life != nil && n.draining:
			n.w.after(100*time.Millisecond, up) // it is still on its way out
		default:
			n.boot()
		}
	}
	return up
}

func touches(a, b protocol.LayerRange) bool { return a.From < b.To && b.From < a.To }

// doom kills all nodes of some layers for good, early.
func (s *simSchedule) doom() {
	w := s.w
	layer := w.rng.IntN(w.layers)
	s.doomed = protocol.LayerRange{From: layer, To: layer + 1}
	for _, n := range w.nodes {
		if touches(n.layers, s.doomed) {
			w.after(w.between(0, 60*time.Millisecond), n.kill)
		}
	}
}

// simLimit is the virtual time after which a generation counts as stuck.
const simLimit = 10 * time.Minute

// run runs the schedule and says what is wrong, "" if nothing is.
func (s *simSchedule) run() string {
	for s.w.now < simLimit && !s.ended() {
		s.w.run(s.w.now + time.Second)
	}
	if !s.ended() {
		return "a generation has not ended"
	}
	s.w.run(s.w.now + 30*time.Second) // what is under way arrives, what is closed is noticed
	if s.w.problem != "" {
		return s.w.problem
	}
	for _, c := range s.coordinators {
		if problem := c.verdict(s); problem != "" {
			return c.name + ": " + problem
		}
	}
	for _, n := range s.w.nodes {
		if l := n.life; l != nil && (len(l.sessions) > 0 || len(l.ends) > 0 || l.kept != 0 || len(l.jobs) > 0) {
			return fmt.Sprintf("%s is left with %d sessions, %d streams, %d bytes of outputs and %d inputs", n.peer, len(l.sessions), len(l.ends), l.kept, len(l.jobs))
		}
	}
	return ""
}

func (s *simSchedule) ended() bool {
	return !slices.ContainsFunc(s.coordinators, func(c *simCoordinator) bool { return !c.dead && (c.state == nil || !c.state.Ended()) })
}

// verdict judges how a generation ended.
func (c *simCoordinator) verdict(s *simSchedule) string {
	switch {
	case c.problem != "":
		return c.problem
	case c.dead:
		return ""
	case c.state.Err() == nil:
		if !slices.Equal(c.tokens, c.wantTokens) {
			return fmt.Sprintf("tokens %v, want %v", c.tokens, c.wantTokens)
		}
		want := map[pipeline.LogitsWanted]int{pipeline.LogitsDrawn: len(c.wantTokens), pipeline.LogitsPrompt: len(c.wantLogits)}[c.cfg.Logits]
		if c.logits != want {
			return fmt.Sprintf("logits of %d rows, want %d", c.logits, want)
		}
		return ""
	}
	var failed *pipeline.FailedError
	if !errors.As(c.state.Err(), &failed) || failed.Hop == nil || failed.Shard < 1 || !slices.Equal(failed.Generated, c.tokens) {
		return fmt.Sprintf("failed with %v", c.state.Err())
	}
	if c.cfg.Recover && (s.doomed.Len() == 0 || !errors.As(failed.Err, new(*placement.NoRouteError))) {
		return fmt.Sprintf("failed although nodes came back: %v", c.state.Err())
	}
	return ""
}
