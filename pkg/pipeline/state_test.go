// SPDX-License-Identifier: MIT

package pipeline

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// TestPipelineState walks testdata: each file is one story, each block an event and the effects it had. Regenerate with -rewrite.
//
//	new shards=N prompt=N max-tokens=N [chunk=N] [context=N] [end=ID] [stop-after-two] [logits] [relay] [f16] [recover]
//	start
//	opened hop=N|all [cached=(N,…)] [kept=(N,…)] [epoch=N]   rows the hops have, outputs they kept
//	result step=N [token=ID] [hop=N] [epoch=N]               the answer to a step that was sent; of the last hop unless told otherwise
//	resumed [hop=N] [step=N]
//	failed hop=N [code=NAME] [lost=PEER] [told] [epoch=N]    without code: the connection broke
//	leaving hop=N
//	probed hop=N|all [silent]
//	placed route=(PEER:LAYERS,…) [attempt=N]
//	unplaced [final]
//	cancel
//	tick
//	report
//
// Each takes after=MS, the time since the event before.
func TestPipelineState(t *testing.T) {
	t.Parallel()
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		var env *stateEnv
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "new" {
				env = &stateEnv{now: time.Unix(0, 0), sent: map[sentKey]*protocol.Step{}}
				return env.create(t, d)
			}
			return env.apply(t, d)
		})
	})
}

type stateEnv struct {
	now   time.Time
	state *PipelineState
	sent  map[sentKey]*protocol.Step
}

type sentKey struct {
	epoch protocol.Epoch
	step  uint32
}

func (e *stateEnv) create(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	var shards, prompt, maxTokens, chunk, context, endToken int
	context = 100
	d.MaybeScanArgs(t, "shards", &shards)
	d.MaybeScanArgs(t, "prompt", &prompt)
	d.MaybeScanArgs(t, "max-tokens", &maxTokens)
	d.MaybeScanArgs(t, "chunk", &chunk)
	d.MaybeScanArgs(t, "context", &context)
	d.MaybeScanArgs(t, "end", &endToken)
	cfg := Config{Context: context, ChunkRows: chunk, StepTimeout: 10 * time.Second, Wire: protocol.F32, Recover: d.HasArg("recover")}
	if d.HasArg("relay") {
		cfg.Path = protocol.PathRelay
	}
	if d.HasArg("f16") {
		cfg.Wire = protocol.F16
	}
	if d.HasArg("logits") {
		cfg.Logits = LogitsPrompt
	}
	if endToken > 0 {
		cfg.End = func(id protocol.TokenID) bool { return int(id) == endToken }
	}
	if d.HasArg("stop-after-two") {
		cfg.Stop = func(g []protocol.TokenID) bool { return len(g) == 2 }
	}
	for i := range shards {
		cfg.Route = append(cfg.Route, protocol.Hop{Peer: fmt.Sprintf("peer%d", i), Layers: protocol.LayerRange{From: i * 8, To: i*8 + 8}})
	}
	req := protocol.InferenceRequest{MaxTokens: uint32(maxTokens)}
	for i := range prompt {
		req.Tokens = append(req.Tokens, protocol.TokenID(100+i))
	}
	s, err := New(cfg, req)
	if err != nil {
		return err.Error() + "\n"
	}
	e.state = s
	return fmt.Sprintf("%s, reserves %d positions\n", s.Phase(), s.Positions())
}

func (e *stateEnv) apply(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	var ms int
	d.MaybeScanArgs(t, "after", &ms)
	e.now = e.now.Add(time.Duration(ms) * time.Millisecond)
	if d.Cmd == "report" {
		r := e.state.Report()
		return fmt.Sprintf("tokens=%d reason=%q open=%s ttft=%s total=%s decode=%s processing=%s overhead=%s per-token=%s steps=%d recoveries=%d in %s\n",
			r.Tokens, r.Reason, r.Open, r.TimeToFirstToken, r.Total, r.Decode, r.Processing, r.Overhead, r.OverheadPerToken(), r.DecodeSteps, len(r.Recoveries), r.Recovery)
	}
	var b strings.Builder
	for _, event := range e.events(t, d) {
		for _, effect := range e.state.Apply(e.now, event) {
			if send, ok := effect.(EffectSend); ok {
				if step, ok := send.Frame.(*protocol.Step); ok {
					e.sent[sentKey{step.Epoch, step.Step}] = step
				}
			}
			b.WriteString(e.describe(effect))
		}
	}
	fmt.Fprintf(&b, "%s\n", e.state.Phase())
	if err := e.state.Err(); err != nil {
		fmt.Fprintf(&b, "error: %v\n", err)
	}
	return b.String()
}

// events returns the events of a command: one, or one a hop.
func (e *stateEnv) events(t *testing.T, d *datadriven.TestData) []Event {
	t.Helper()
	epoch := e.state.Epoch()
	var step, token, attempt int
	token, attempt = -1, e.state.attempt
	d.MaybeScanArgs(t, "step", &step)
	d.MaybeScanArgs(t, "token", &token)
	d.MaybeScanArgs(t, "attempt", &attempt)
	if n := 0; d.MaybeScanArgs(t, "epoch", &n) {
		epoch = protocol.Epoch(n)
	}
	hops := []int{len(e.state.route) - 1}
	var hop string
	if d.MaybeScanArgs(t, "hop", &hop); hop == "all" {
		hops = hops[:0]
		for i := range e.state.route {
			hops = append(hops, i)
		}
	} else if hop != "" {
		hops = []int{0}
		d.ScanArgs(t, "hop", &hops[0])
	}
	var events []Event
	for i, hop := range hops {
		switch d.Cmd {
		case "start":
			events = append(events, EventStart{})
		case "opened":
			events = append(events, EventOpened{Epoch: epoch, Hop: hop, CachedTo: nth(t, d, "cached", i), KeptTo: nth(t, d, "kept", i)})
		case "result":
			events = append(events, EventResult{Hop: hop, Result: e.result(hop, uint32(step), epoch, token)})
		case "resumed":
			r := &protocol.Resume{Epoch: epoch, Step: uint32(step)}
			events = append(events, EventResumed{Hop: hop, Resume: r})
		case "failed":
			events = append(events, EventFailed{Epoch: epoch, Hop: hop, Told: d.HasArg("told"), Err: e.failure(t, d, hop)})
		case "leaving":
			events = append(events, EventLeaving{Epoch: epoch, Hop: hop, Grace: time.Minute})
		case "probed":
			event := EventProbed{Epoch: epoch, Hop: hop}
			if d.HasArg("silent") {
				event.Err = errors.New("no answer to a status request")
			}
			events = append(events, event)
		case "placed":
			events = append(events, EventPlaced{Attempt: attempt, Route: route(t, d)})
		case "unplaced":
			events = append(events, EventUnplaced{Attempt: attempt, Err: errors.New("nobody takes them"), Final: d.HasArg("final")})
		case "cancel":
			events = append(events, EventCancel{Err: errors.New("interrupted")})
		case "tick":
			events = append(events, EventTick{})
		default:
			d.Fatalf(t, "unknown command %s", d.Cmd)
		}
	}
	return events
}

// nth returns the i-th value of an argument, 0 without it.
func nth(t *testing.T, d *datadriven.TestData, key string, i int) (n int) {
	t.Helper()
	for _, a := range d.CmdArgs {
		if a.Key == key && i < len(a.Vals) {
			if _, err := fmt.Sscan(a.Vals[i], &n); err != nil {
				d.Fatalf(t, "%s: %v", key, err)
			}
		}
	}
	return n
}

func route(t *testing.T, d *datadriven.TestData) (hops []protocol.Hop) {
	t.Helper()
	for _, a := range d.CmdArgs {
		if a.Key != "route" {
			continue
		}
		for _, v := range a.Vals {
			peer, layers, _ := strings.Cut(v, ":")
			r, err := protocol.ParseLayerRange(layers)
			if err != nil {
				d.Fatalf(t, "%v", err)
			}
			hops = append(hops, protocol.Hop{Peer: peer, Layers: r})
		}
	}
	return hops
}

// failure makes the error of a hop's failure.
func (e *stateEnv) failure(t *testing.T, d *datadriven.TestData, hop int) error {
	t.Helper()
	var name, lost string
	d.MaybeScanArgs(t, "code", &name)
	d.MaybeScanArgs(t, "lost", &lost)
	if name == "" && lost == "" {
		return errors.New("connection closed")
	}
	if lost != "" {
		name = "unreachable"
	}
	for code := protocol.CodeInternal; code <= protocol.CodeBadRequest; code++ {
		if code.String() == name {
			err := protocol.Errorf(code, "a reason")
			err.Peer, err.Lost = fmt.Sprintf("peer%d", hop), lost
			return err
		}
	}
	d.Fatalf(t, "no code %q", name)
	return nil
}

// result makes the answer to a step: every hop took 1 ms.
func (e *stateEnv) result(hop int, step uint32, epoch protocol.Epoch, token int) *protocol.IntermediateResult {
	r := &protocol.IntermediateResult{Step: step, Epoch: epoch}
	if sent := e.sent[sentKey{epoch, step}]; sent != nil {
		r.Position, r.Tokens, r.Logits, r.Sample = sent.Position, sent.Tokens, sent.Logits, sent.Sample
	}
	for i := range hop + 1 {
		r.Hops = append(r.Hops, protocol.HopTiming{Layers: e.state.route[i].Layers, Rows: 1, Processing: uint64(time.Millisecond)})
	}
	if token >= 0 {
		r.Generated = []protocol.TokenID{protocol.TokenID(token)}
	}
	return r
}

func (e *stateEnv) describe(effect Effect) string {
	switch f := effect.(type) {
	case EffectOpen:
		var hops []string
		for _, h := range e.state.route {
			hops = append(hops, h.Layers.String()+" at "+h.Peer)
		}
		rounds := ""
		if o := e.state.OpenFrame(0); len(o.Rounds) > 0 {
			rounds = fmt.Sprintf(", rounding at %v", o.Rounds)
		}
		return fmt.Sprintf("open epoch %d: %s%s\n", f.Epoch, strings.Join(hops, ", "), rounds)
	case EffectRelease:
		return fmt.Sprintf("release what is older than epoch %d\n", f.Epoch)
	case EffectSend:
		switch s := f.Frame.(type) {
		case *protocol.Step:
			return fmt.Sprintf("send hop=%d step=%d position=%d tokens=%v sample=%v logits=%v\n", f.Hop, s.Step, s.Position, s.Tokens, s.Sample, s.Logits)
		case *protocol.Resume:
			return fmt.Sprintf("send hop=%d step=%d resume with rows %v\n", f.Hop, s.Step, s.Rows)
		}
		return fmt.Sprintf("send hop=%d %T step=%d\n", f.Hop, f.Frame, f.Frame.(*protocol.IntermediateResult).Step)
	case EffectProbe:
		return fmt.Sprintf("probe hops %v\n", f.Hops)
	case EffectPlace:
		var lost []string
		for _, l := range f.Repair.Lost {
			what := f.Repair.Route[l.Hop].Layers.String() + " of " + f.Repair.Route[l.Hop].Peer
			if l.Leaving {
				what += ", which leaves"
			}
			lost = append(lost, what)
		}
		return fmt.Sprintf("place anew: %s (attempt %d)\n", strings.Join(lost, ", "), f.Attempt)
	case EffectEmit:
		return fmt.Sprintf("emit %d\n", f.Token)
	case EffectShards:
		return ""
	case EffectNotice:
		return "notice: " + describeNotice(f.Notice) + "\n"
	case EffectClose:
		return "close all hops\n"
	}
	return fmt.Sprintf("%T\n", effect)
}

func describeNotice(n Notice) string {
	switch n := n.(type) {
	case NoticeLost:
		if n.Leaving {
			return fmt.Sprintf("shard %d/%d (%s at %s) is about to leave", n.Shard, n.Shards, n.Hop.Layers, n.Hop.Peer)
		}
		return fmt.Sprintf("shard %d/%d (%s at %s) lost in %s after %d rows and %s of silence: %v", n.Shard, n.Shards, n.Hop.Layers, n.Hop.Peer, n.Phase, n.Position, n.Silence, n.Err)
	case NoticeReopen:
		return fmt.Sprintf("the same route again, in %s after %s of silence: %v", n.Phase, n.Silence, n.Err)
	case NoticeWaiting:
		return fmt.Sprintf("layers %v wait for a node, %s at the most: %v", n.Layers, n.Left, n.Err)
	case NoticeLate:
		return fmt.Sprintf("slow: no answer in %s, but all nodes live", n.Silence)
	case NoticeRecovered:
		r := n.Recovery
		var in []string
		for _, h := range r.New {
			in = append(in, h.Layers.String()+" at "+h.Peer)
		}
		return fmt.Sprintf("recovered in %s: new %v, %d rows fed again, %d lost, routes tried: %d", r.Took, in, r.Replayed, len(r.Lost), r.Epochs)
	}
	return fmt.Sprintf("%T", n)
}

// What no route could serve is refused before anything is opened.
func TestNewRefuses(t *testing.T) {
	t.Parallel()
	hop := []protocol.Hop{{Peer: "p", Layers: protocol.LayerRange{To: 1}}}
	for _, c := range []struct {
		cfg  Config
		req  protocol.InferenceRequest
		want string
	}{
		{Config{Context: 1}, protocol.InferenceRequest{Tokens: []protocol.TokenID{1}}, "route is empty"},
		{Config{Context: 1, Route: hop}, protocol.InferenceRequest{}, "no tokens"},
		{Config{Context: 1, Route: hop}, protocol.InferenceRequest{Tokens: []protocol.TokenID{1, 2}}, "context is 1"},
	} {
		if _, err := New(c.cfg, c.req); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}

func TestTiles(t *testing.T) {
	t.Parallel()
	hop := func(peer string, from, to int) protocol.Hop {
		return protocol.Hop{Peer: peer, Layers: protocol.LayerRange{From: from, To: to}}
	}
	good := []protocol.Hop{hop("a", 0, 2), hop("b", 2, 5)}
	if !tiles(good, 5) {
		t.Error("a good route is refused")
	}
	for _, bad := range [][]protocol.Hop{nil, good[:1], good[1:], {good[0], hop("b", 1, 5)}, {good[0], hop("b", 3, 5)}, {good[0], hop("", 2, 5)}, slices.Concat(good, []protocol.Hop{hop("c", 5, 6)})} {
		if tiles(bad, 5) {
			t.Errorf("%v passes", bad)
		}
	}
}
