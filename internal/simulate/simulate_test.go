// SPDX-License-Identifier: MIT

package simulate

import (
	"context"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shardnode/shardnode/pkg/discovery"
	"github.com/shardnode/shardnode/pkg/pipeline"
	"github.com/shardnode/shardnode/pkg/placement"
	"github.com/shardnode/shardnode/pkg/placement/solver"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// small is a swarm that a test runs in a fraction of a second.
func small(nodes int) Config {
	return Config{
		Nodes: nodes, Users: 0.2, Duration: 20 * time.Minute, Network: World, Batch: 1, Seed: 1,
		Model: Model{Layers: 40, LayerBytes: 400 << 20, Hidden: 5120, KVBytes: 4096},
	}
}

func run(t *testing.T, cfg Config) (*world, *Result) {
	t.Helper()
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	w := newWorld(cfg)
	w.run(t.Context(), nil)
	return w, w.result()
}

// TestNothingIsLeft: whatever the churn, every request ends in exactly one way, and when all have ended no node holds anything for one.
func TestNothingIsLeft(t *testing.T) {
	t.Parallel()
	var sum Result
	for seed := range uint64(12) {
		cfg := small(4 + int(seed)*2)
		cfg.Seed, cfg.Churn, cfg.Crash, cfg.Batch = seed, float64(seed)/2, 0.5, 1+int(seed%3)
		cfg.Network = Networks[seed%3]
		if seed%2 == 1 { // a few copies at the most
			cfg.Model.LayerBytes = int64(cfg.Nodes) << 27
		}
		w, r := run(t, cfg)
		if r.Asked == 0 || r.Asked != r.Done+r.Lost+r.Refused || r.UnderWay != 0 {
			t.Errorf("seed %d: %d requests: %d done, %d lost, %d refused, %d under way", seed, r.Asked, r.Done, r.Lost, r.Refused, r.UnderWay)
		}
		if r.Coverage < 0 || r.Coverage > 1 || r.Healed > r.Done || r.PerToken < r.Compute {
			t.Errorf("seed %d: %+v", seed, r)
		}
		for end := w.now + time.Minute; w.now < end && w.next(); { // closes arrive
		}
		for _, n := range w.ring {
			if len(n.seats) > 0 || n.kv != 0 || len(n.jobs) > 0 {
				t.Errorf("seed %d: %s is left with %d sessions, %d bytes and %d inputs", seed, n.peer, len(n.seats), n.kv, len(n.jobs))
			}
		}
		for _, c := range w.crowd {
			if c.eager != 0 {
				t.Errorf("seed %d: a coordinator waits for something", seed)
			}
		}
		sum.Lost, sum.Refused, sum.Healed, sum.Pauses = sum.Lost+r.Lost, sum.Refused+r.Refused, sum.Healed+r.Healed, sum.Pauses+r.Pauses
		sum.Moves += r.Moves
	}
	if sum.Lost+sum.Refused == 0 || sum.Healed == 0 || sum.Pauses == 0 || sum.Moves == 0 {
		t.Errorf("the swarms were too kind: %+v", sum)
	}
}

// TestSameSeedSameResult: a result is a function of the configuration.
func TestSameSeedSameResult(t *testing.T) {
	t.Parallel()
	cfg := small(30)
	cfg.Churn, cfg.Crash = 2, 0.5
	_, a := run(t, cfg)
	_, b := run(t, cfg)
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("two runs differ:\n%s", diff)
	}
	cfg.Seed++
	if _, c := run(t, cfg); cmp.Equal(a, c) {
		t.Error("another seed gives the same")
	}
}

// TestTimePerTokenIsThePredictedOne: one user of a swarm in which nobody comes or goes waits for each token as long as the planner's model of
// the route says, on every network.
func TestTimePerTokenIsThePredictedOne(t *testing.T) {
	t.Parallel()
	for _, network := range Networks {
		for seed := range uint64(5) {
			cfg := small(12)
			cfg.Network, cfg.Seed, cfg.Users = network, seed, 0
			if network == World {
				cfg.Model.Layers = 120 // several hops
			}
			w := newWorld(cfg)
			for w.now < Warmup-time.Second && w.next() {
			}
			c := w.crowd[0]
			route, err := placement.Route(c.candidates(), cfg.Model.Layers, placement.Options{})
			if err != nil {
				t.Fatal(err)
			}
			g := &generation{w: w, c: c, since: map[*node]time.Time{}, ended: func(*generation) {}}
			g.state, err = pipeline.New(
				pipeline.Config{Model: modelID, Numerics: numerics, Wire: protocol.F32, Route: route, Context: protocol.MaxPositions, Recover: true},
				protocol.InferenceRequest{Tokens: make([]protocol.TokenID, 200), MaxTokens: 50})
			if err != nil {
				t.Fatal(err)
			}
			w.closed = true // nobody else asks
			g.apply(pipeline.EventStart{})
			for !g.state.Ended() && w.next() {
			}
			r := g.state.Report()
			if r.DecodeSteps != 49 || len(r.Recoveries) > 0 {
				t.Fatalf("%s, seed %d: %+v, %v", network, seed, r, g.state.Err())
			}
			got, want := (r.Decode / time.Duration(r.DecodeSteps)).Seconds(), predicted(w, c, route)
			if g.queue > 0 {
				t.Errorf("%s, seed %d: one user alone waits %s", network, seed, g.queue)
			}
			if math.Abs(got/want-1) > 0.002 {
				t.Errorf("%s, seed %d, %d hops: %.6f s a token, predicted %.6f", network, seed, len(route), got, want)
			}
		}
	}
}

// predicted is what the planner says of a route.
func predicted(w *world, c *coordinator, route []protocol.Hop) float64 {
	in := &solver.Instance{Load: solver.Load{Prompt: 200, Output: 50, Context: 2048, Sessions: 1, Streams: 1}}
	in.Model.Hidden = 4 * int64(w.cfg.Model.Hidden)
	for range w.cfg.Model.Layers {
		in.Model.Layers = append(in.Model.Layers, solver.Layer{Bytes: w.cfg.Model.LayerBytes, FLOPs: flopsPerByte * w.cfg.Model.LayerBytes})
	}
	var hops []solver.Hop
	sites := make([]*site, 0, len(route)+1)
	for i, h := range route {
		n := w.byPeer[h.Peer]
		in.Devices = append(in.Devices, solver.Device{Name: n.peer, Memory: n.room, Decode: n.decode, Prefill: n.prefill, Overhead: overhead})
		hops = append(hops, solver.Hop{Device: i, Layers: h.Layers})
		sites = append(sites, n.site)
	}
	sites = append(sites, c.site)
	for _, a := range sites {
		var links []solver.Link
		for _, b := range sites {
			links = append(links, solver.Link{Latency: oneWay(a, b), Bandwidth: 1e9 / transfer(a, b, 1e9).Seconds()})
		}
		in.Links = append(in.Links, links)
	}
	return solver.Predict(in, hops).Token
}

// TestReplicasOutliveCrashes: where every layer has copies, nodes that die cost time and no request; those that leave in good order cost less.
func TestReplicasOutliveCrashes(t *testing.T) {
	t.Parallel()
	pause := map[float64]time.Duration{}
	for _, crash := range []float64{0, 1} {
		cfg := small(40)
		cfg.Users, cfg.Churn, cfg.Crash, cfg.Duration = 0.1, 6, crash, time.Hour
		_, r := run(t, cfg)
		if r.Lost+r.Refused > 0 || r.Pauses == 0 || r.Coverage < 1 {
			t.Errorf("crashes %g: %+v", crash, r)
		}
		pause[crash] = r.Pause
	}
	if pause[0] > pause[1] {
		t.Errorf("a clean leave interrupts for %s, a crash for %s", pause[0], pause[1])
	}
}

// TestOneNodeOfAKind: without replicas layers are served by nobody at times, and requests are refused or lost then.
func TestOneNodeOfAKind(t *testing.T) {
	t.Parallel()
	cfg := small(1)
	cfg.Model.Layers, cfg.Network, cfg.Churn, cfg.Crash, cfg.Duration = 8, LAN, 12, 1, 4*time.Hour
	_, r := run(t, cfg)
	if r.Coverage >= 1 || r.Coverage < 0.3 || r.Lost == 0 || r.Refused == 0 || r.Done == 0 {
		t.Errorf("%+v", r)
	}
}

// TestTooLittleMemory: where the layers do not fit all nodes together, nothing is served and every request is refused.
func TestTooLittleMemory(t *testing.T) {
	t.Parallel()
	cfg := small(3)
	cfg.Model.LayerBytes = 16 << 30
	_, r := run(t, cfg)
	if r.Coverage != 0 || r.Asked == 0 || r.Refused != r.Asked || r.Complete != 0 {
		t.Errorf("%+v", r)
	}
}

// TestInterrupted: what there is when the user stops is told, and adds up.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cfg := small(40)
	r, err := Run(ctx, cfg, func(share float64) {
		if share > 0.7 {
			cancel()
		}
	})
	if err != nil || !r.Interrupted || r.Measured <= 0 || r.Measured >= cfg.Duration || r.Asked == 0 || r.Asked != r.Done+r.Lost+r.Refused+r.UnderWay {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestBatchingHelpsTheBusy: nodes that compute steps of several sessions at once serve many users faster.
func TestBatchingHelpsTheBusy(t *testing.T) {
	t.Parallel()
	cfg := small(8)
	cfg.Users, cfg.Network = 2, LAN
	_, alone := run(t, cfg)
	cfg.Batch = 16
	_, batched := run(t, cfg)
	if batched.TokensPerSecond < 1.2*alone.TokensPerSecond || batched.Queue > alone.Queue {
		t.Errorf("alone %+v\nbatched %+v", alone, batched)
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	good := small(10)
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for field, value := range map[string]any{
		"Nodes": MaxNodes + 1, "Users": math.NaN(), "Duration": time.Second, "Churn": -1.0, "Crash": 1.5, "Network": Network("moon"), "Batch": 0,
		"Model.Layers": protocol.MaxLayers + 1, "Model.LayerBytes": int64(0), "Model.Hidden": -1, "Model.KVBytes": int64(-1),
	} {
		bad := good
		v := reflect.ValueOf(&bad).Elem()
		for name := range strings.SplitSeq(field, ".") {
			v = v.FieldByName(name)
		}
		v.Set(reflect.ValueOf(value))
		if _, err := Run(t.Context(), bad, nil); err == nil || !strings.Contains(err.Error(), "want") {
			t.Errorf("%s = %v: %v", field, value, err)
		}
	}
	crowd := good
	crowd.Nodes, crowd.Users = MaxNodes, 1.01
	if _, err := Run(t.Context(), crowd, nil); err == nil || !strings.Contains(err.Error(), "20200 users: want 20000 in all at the most") {
		t.Errorf("too many users: %v", err)
	}
}

// TestClockKeepsOrder: events come by time, and those of one time as they were made.
func TestClockKeepsOrder(t *testing.T) {
	t.Parallel()
	var c clock
	var got []int
	for i := range 1000 {
		c.after(time.Duration(mix(uint64(i))%50), func() { got = append(got, i) })
	}
	before, at := -1, time.Duration(-1)
	for n := 0; c.next(); n++ {
		i := got[n]
		if c.now < at || c.now == at && i < before {
			t.Fatalf("event %d at %s comes after event %d at %s", i, c.now, before, at)
		}
		before, at = i, c.now
	}
	if len(got) != 1000 {
		t.Errorf("%d events of 1000", len(got))
	}
}

// TestWhatOthersKnow: a node is known soon after it appears, as it was when it was last asked; a dead one for as long as a question takes to
// fail; and nobody knows more than anybody keeps.
func TestWhatOthersKnow(t *testing.T) {
	t.Parallel()
	cfg := small(1)
	cfg.Users = 0
	w := newWorld(cfg)
	w.events, w.ring = nil, nil
	n := w.newNode()
	w.enter(n)
	v := &viewer{w: w, key: 7, site: w.sites[0]}
	knows := func() *state {
		var known *state
		v.known(func(_ *node, _ time.Duration, s *state) { known = s })
		return known
	}
	w.now = time.Hour
	n.appeared = w.now
	n.layers = protocol.LayerRange{From: 0, To: 4}
	n.tell()
	if knows() != nil {
		t.Error("it is known before it was found")
	}
	w.now += discovery.LookupLooked + 3*time.Second
	if s := knows(); s == nil || s.layers != n.layers {
		t.Fatalf("it is not known: %+v", s)
	}
	n.layers.To = 8
	n.tell()
	w.now += discovery.RefreshLooked + time.Second
	if s := knows(); s.layers.To != 8 {
		t.Errorf("news are not known after %s", discovery.RefreshLooked)
	}
	n.gone, n.end = true, w.now
	w.now += 100 * time.Millisecond
	if knows() == nil {
		t.Error("a death is known at once")
	}
	w.now += discovery.RefreshLooked + discovery.AskTimeout
	if knows() != nil {
		t.Error("a dead node is still known")
	}
	n.gone = false
	for range discovery.MaxKnown + 100 {
		o := w.newNode()
		o.appeared, o.layers = n.appeared, n.layers
		w.enter(o)
		w.now -= time.Minute
		o.tell()
		w.now += time.Minute
	}
	count := 0
	v.known(func(*node, time.Duration, *state) { count++ })
	if count != discovery.MaxKnown {
		t.Errorf("knows %d nodes, want %d", count, discovery.MaxKnown)
	}
}
