// SPDX-License-Identifier: MIT

package pipeline_test

import (
	"context"
	"errors"
	"runtime"
	"testing"

	"github.com/shardnode/shardnode/pkg/pipeline"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// oneHop is a route of one hop without a network: what the driver takes by itself.
type oneHop struct {
	steps  chan struct{}
	closed chan struct{}
	result protocol.IntermediateResult
}

func (h *oneHop) OpenHop(_ context.Context, _ protocol.Hop, o *protocol.Open) (pipeline.Stream, *protocol.Opened, error) {
	return h, &protocol.Opened{Session: o.Session, Epoch: o.Epoch}, nil
}

func (h *oneHop) Probe(context.Context, protocol.Hop) error { return nil }

func (h *oneHop) Place(context.Context, pipeline.Repair, func(error)) ([]protocol.Hop, error) {
	return nil, errors.New("there is one hop")
}

func (h *oneHop) Send(f protocol.Frame) error {
	s := f.(*protocol.Step)
	h.result.Session, h.result.Epoch, h.result.Step, h.result.Position = s.Session, s.Epoch, s.Step, s.Position
	h.result.Tokens = append(h.result.Tokens[:0], s.Tokens...)
	h.steps <- struct{}{}
	return nil
}

func (h *oneHop) Recv() (protocol.Frame, error) {
	select {
	case <-h.steps:
		return &h.result, nil
	case <-h.closed:
		return nil, errors.New("closed")
	}
}

func (h *oneHop) Close() { close(h.closed) }

// TestTokenAllocatesLittle: what the driver allocates a token is a handful of events and effects, however long the answer is. (Nodes
// allocate nothing in a decode step; a coordinator takes some tens of tokens a second.) Not parallel: it counts the whole process.
func TestTokenAllocatesLittle(t *testing.T) {
	const context, most, mostBytes = 8192, 8, 512
	generate := func(tokens int) (objects, bytes uint64) {
		h := &oneHop{steps: make(chan struct{}, 2), closed: make(chan struct{})}
		h.result.Generated, h.result.Hops = []protocol.TokenID{70_000}, make([]protocol.HopTiming, 1)
		cfg := pipeline.Config{
			Route: []protocol.Hop{{Peer: "a", Layers: protocol.LayerRange{From: 0, To: 8}}}, Context: context, Wire: protocol.F32,
		}
		req := protocol.InferenceRequest{Tokens: []protocol.TokenID{1}, MaxTokens: uint32(tokens)}
		seen := 0
		obs := pipeline.Observer{Token: func(protocol.TokenID) { seen++ }, Step: func([]protocol.HopTiming) {}}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := pipeline.Generate(t.Context(), h, cfg, req, obs)
		runtime.ReadMemStats(&after)
		if err != nil || seen != tokens {
			t.Fatalf("%d of %d tokens: %v", seen, tokens, err)
		}
		return after.Mallocs - before.Mallocs, after.TotalAlloc - before.TotalAlloc
	}
	generate(10)
	objects, bytes := generate(1000)
	more, moreBytes := generate(4000)
	perToken, bytesPerToken := float64(more-objects)/3000, float64(moreBytes-bytes)/3000
	t.Logf("%.2f objects, %.0f bytes a token", perToken, bytesPerToken)
	if perToken > most || bytesPerToken > mostBytes {
		t.Errorf("%.2f objects of %.0f bytes a token, want at most %d of %d", perToken, bytesPerToken, most, mostBytes)
	}
}
