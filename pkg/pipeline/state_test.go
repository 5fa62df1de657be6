// SPDX-License-Identifier: MIT

package pipeline

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// TestPipelineState walks testdata: each file is one story, each block an event and the effects it had. Regenerate with -rewrite.
func TestPipelineState(t *testing.T) {
	t.Parallel()
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		var env *stateEnv
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "new" {
				env = &stateEnv{now: time.Unix(0, 0)}
				return env.create(t, d)
			}
			return env.apply(t, d)
		})
	})
}

type stateEnv struct {
	now   time.Time
	state *PipelineState
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
	cfg := Config{Context: context, ChunkRows: chunk, StepTimeout: 10 * time.Second}
	if d.HasArg("relay") {
		cfg.Path = protocol.PathRelay
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
	var hop, step, ms int
	token, epoch := -1, 0
	d.MaybeScanArgs(t, "hop", &hop)
	d.MaybeScanArgs(t, "step", &step)
	d.MaybeScanArgs(t, "token", &token)
	d.MaybeScanArgs(t, "epoch", &epoch)
	d.MaybeScanArgs(t, "after", &ms)
	e.now = e.now.Add(time.Duration(ms) * time.Millisecond)
	var event Event
	switch d.Cmd {
	case "start":
		event = EventStart{}
	case "opened":
		event = EventOpened{Hop: hop}
	case "result":
		event = EventResult{Hop: hop, Result: e.result(hop, step, epoch, token)}
	case "failed":
		event = EventFailed{Hop: hop, Err: protocol.Errorf(protocol.CodeBusy, "no KV memory left")}
	case "cancel":
		event = EventCancel{Err: errors.New("interrupted")}
	case "tick":
		event = EventTick{}
	case "report":
		r := e.state.Report()
		return fmt.Sprintf("tokens=%d reason=%q open=%s ttft=%s total=%s decode=%s processing=%s overhead=%s per-token=%s steps=%d\n",
			r.Tokens, r.Reason, r.Open, r.TimeToFirstToken, r.Total, r.Decode, r.Processing, r.Overhead, r.OverheadPerToken(), r.DecodeSteps)
	default:
		t.Fatalf("unknown command %s", d.Cmd)
	}
	var b strings.Builder
	for _, effect := range e.state.Apply(e.now, event) {
		b.WriteString(describe(effect))
	}
	fmt.Fprintf(&b, "%s\n", e.state.Phase())
	if err := e.state.Err(); err != nil {
		fmt.Fprintf(&b, "error: %v\n", err)
	}
	return b.String()
}

// result makes the answer to a step: every hop took 1 ms.
func (e *stateEnv) result(hop, step, epoch, token int) *protocol.IntermediateResult {
	r := &protocol.IntermediateResult{Step: uint32(step), Epoch: protocol.Epoch(epoch)}
	for i := range hop + 1 {
		r.Hops = append(r.Hops, protocol.HopTiming{Layers: e.state.cfg.Route[i].Layers, Rows: 1, Processing: uint64(time.Millisecond)})
	}
	if token >= 0 {
		r.Generated = []protocol.TokenID{protocol.TokenID(token)}
	}
	return r
}

func describe(effect Effect) string {
	switch f := effect.(type) {
	case EffectOpen:
		return "open all hops\n"
	case EffectSend:
		if s, ok := f.Frame.(*protocol.Step); ok {
			return fmt.Sprintf("send hop=%d step=%d position=%d tokens=%v sample=%v logits=%v\n", f.Hop, s.Step, s.Position, s.Tokens, s.Sample, s.Logits)
		}
		return fmt.Sprintf("send hop=%d %T step=%d\n", f.Hop, f.Frame, f.Frame.(*protocol.IntermediateResult).Step)
	case EffectEmit:
		return fmt.Sprintf("emit %d\n", f.Token)
	case EffectShards:
		return ""
	case EffectClose:
		return "close all hops\n"
	}
	return fmt.Sprintf("%T\n", effect)
}
