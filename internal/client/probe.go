// SPDX-License-Identifier: MIT

package client

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/shardnode/shardnode/pkg/discovery"
	"github.com/shardnode/shardnode/pkg/p2p"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// Speed is how fast a node computes its layers, as seen from here.
type Speed struct {
	Step  time.Duration // of one row
	Chunk time.Duration // of Rows rows
	Rows  int
	Seen  bool // the node's own timing is too good to be true by what was seen from here: these are times seen
}

const (
	// probeChunks of the steps have many rows, the rest has one each.
	probeSteps, probeChunks = 11, 2
	// probeTime bounds a probe.
	probeTime = 20 * time.Second
	// A node's own timing is believed while what is seen from here, less the way, is no more than probeFactor times as much and probeSlack:
	// the rest is the network's doing.
	probeFactor = 1.25
	probeSlack  = 3 * time.Millisecond
)

// Probe has a node compute a prompt chunk and some single rows of nothing in particular, in a session that no other node takes part in:
// on the relay path a hop hears of the coordinator only. The best times count, others may use the node. hidden is the model's width, way what
// a row of hidden states takes there and back beside computing.
func (c *Client) Probe(ctx context.Context, n *discovery.Node, numerics string, hidden int, way func(bytes int) time.Duration) (Speed, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	st := n.Status
	rows := max(1, min(protocol.DefaultChunkRows, (int(st.Context)-probeSteps)/probeChunks))
	o := &protocol.Open{
		Epoch: 1, Model: st.Model, Numerics: numerics, Wire: protocol.F32, Path: protocol.PathRelay, Positions: uint32(probeChunks*rows + probeSteps - probeChunks),
		Request: protocol.InferenceRequest{RequestID: "probe", MaxTokens: probeSteps},
	}
	if _, err := rand.Read(o.Session[:]); err != nil {
		return Speed{}, err
	}
	for _, r := range []protocol.LayerRange{{From: 0, To: st.Layers.From}, st.Layers, {From: st.Layers.To, To: int(st.NLayers)}} {
		if r.Len() == 0 {
			continue
		}
		hop := protocol.Hop{Peer: "nobody", Layers: r}
		if r == st.Layers {
			o.Index, hop.Peer, hop.Addrs = uint32(len(o.Route)), st.Peer, st.Addrs
		}
		o.Route = append(o.Route, hop)
	}
	s, err := c.host.OpenHop(ctx, o.Route[o.Index], o)
	if err != nil {
		return Speed{}, err
	}
	defer s.Close()
	defer s.Bind(ctx)()
	var chunk, step probed
	position := 0
	for i := range probeSteps {
		k, to := 1, &step
		if i < probeChunks {
			k, to = rows, &chunk
		}
		f := probeInput(o, i, position, k, hidden)
		position += k
		began := time.Now()
		if err := s.Send(f); err != nil {
			return Speed{}, err
		}
		own, back, err := probeAnswer(s)
		if err != nil {
			return Speed{}, err
		}
		sent := 0
		if o.Index > 0 {
			sent = 4 * k * hidden
		}
		to.add(own, time.Since(began)-way(sent+back))
	}
	if step.holds() {
		return Speed{Step: step.own, Chunk: chunk.own, Rows: rows}, nil
	}
	return Speed{Step: step.seen, Chunk: max(1, chunk.seen), Rows: rows, Seen: true}, nil
}

// probed are the shortest times of some steps: as the node tells, and as they are seen from here.
type probed struct {
	own, seen time.Duration
	any       bool
}

func (p *probed) add(own, seen time.Duration) {
	if !p.any {
		p.own, p.seen, p.any = own, seen, true
	}
	p.own, p.seen = min(p.own, own), min(p.seen, seen)
}

// holds reports whether the node's own timing agrees with what is seen. It is asked of single rows only: those fit one flight, while chunks
// are delayed by windows that nobody here knows. Who lies of one is believed in neither.
func (p *probed) holds() bool {
	return p.seen <= time.Duration(float64(p.own)*probeFactor)+probeSlack
}

// probeInput is the i-th step of a probe: k rows from a position on.
func probeInput(o *protocol.Open, i, position, k, hidden int) protocol.Frame {
	tokens := make([]protocol.TokenID, k)
	last := int(o.Index) == len(o.Route)-1
	sample := last && k == 1 // with the head, as in decoding
	if o.Index == 0 {
		return &protocol.Step{Session: o.Session, Epoch: o.Epoch, Step: uint32(i), Position: uint32(position), Tokens: tokens, Sample: sample}
	}
	return &protocol.IntermediateResult{
		Session: o.Session, Epoch: o.Epoch, Step: uint32(i), Position: uint32(position), Tokens: tokens, Sample: sample,
		DType: protocol.F32, Hidden: make([]byte, 4*k*hidden),
	}
}

// probeAnswer waits for a step's result: the node's own timing, and the bytes that came back.
func probeAnswer(s *p2p.HopStream) (own time.Duration, back int, err error) {
	f, err := s.Recv()
	if err != nil {
		return 0, 0, err
	}
	switch f := f.(type) {
	case *protocol.IntermediateResult:
		if len(f.Hops) == 0 || f.Hops[len(f.Hops)-1].Processing > uint64(probeTime) {
			return 0, 0, errors.New("a result without a sane timing")
		}
		return time.Duration(f.Hops[len(f.Hops)-1].Processing), len(f.Hidden), nil
	case *protocol.Error:
		return 0, 0, f
	}
	return 0, 0, fmt.Errorf("frame type %d in place of a result", f.FrameType())
}
