// SPDX-License-Identifier: MIT

package p2p_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/shardnode/shardnode/pkg/p2p"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// adder is a node whose every layer range adds 1 to the hidden states: a token t comes out of n hops as t+n.
type adder struct {
	hidden   int
	manifest []byte
	refuse   *protocol.Error // answer to every Open
	open     atomic.Int32    // sessions
}

func newAdder() *adder { return &adder{hidden: 4, manifest: []byte("manifest of the adder")} }

func (n *adder) model() protocol.ModelID { return sha256.Sum256(n.manifest) }

func (n *adder) Status() *protocol.Status {
	return &protocol.Status{Model: n.model(), ModelName: "adder", NLayers: 8, Layers: protocol.LayerRange{From: 0, To: 2}, Sessions: uint32(n.open.Load())}
}

func (n *adder) Manifest() []byte { return n.manifest }

func (n *adder) OpenSession(o *protocol.Open, deliver func(protocol.Frame) error) (p2p.Session, *protocol.Opened, error) {
	if n.refuse != nil {
		return nil, nil, n.refuse
	}
	n.open.Add(1)
	s := &adderSession{n: n, last: int(o.Index) == len(o.Route)-1, in: make(chan protocol.Frame, 4)}
	s.out.Go(func() {
		for f := range s.in {
			if deliver(f) != nil {
				return
			}
		}
	})
	return s, &protocol.Opened{Session: o.Session, Epoch: o.Epoch, KVBytes: uint64(o.Positions)}, nil
}

type adderSession struct {
	n    *adder
	last bool
	pos  uint32
	step uint32
	in   chan protocol.Frame
	out  sync.WaitGroup
	end  sync.Once
}

func (s *adderSession) Submit(ctx context.Context, f protocol.Frame) error {
	switch f := f.(type) {
	case *protocol.Step:
		hidden := make([]byte, 0, len(f.Tokens)*s.n.hidden*4)
		for _, t := range f.Tokens {
			for range s.n.hidden {
				hidden = binary.LittleEndian.AppendUint32(hidden, math.Float32bits(float32(t)))
			}
		}
		return s.compute(ctx, &protocol.IntermediateResult{
			Session: f.Session, Epoch: f.Epoch, Step: f.Step, Position: f.Position, Tokens: slices.Clone(f.Tokens), Sample: f.Sample,
			DType: protocol.F32, Hidden: hidden,
		})
	case *protocol.IntermediateResult:
		in := *f
		in.Tokens, in.Hidden, in.Hops = slices.Clone(f.Tokens), slices.Clone(f.Hidden), slices.Clone(f.Hops)
		return s.compute(ctx, &in)
	case *protocol.Truncate:
		if f.Position > s.pos {
			return protocol.Errorf(protocol.CodeOutOfOrder, "truncate to %d of %d", f.Position, s.pos)
		}
		s.pos, s.step = f.Position, f.Step+1
		c := *f
		return s.push(ctx, &c)
	}
	return errors.New("no input")
}

func (s *adderSession) compute(ctx context.Context, r *protocol.IntermediateResult) error {
	if r.Step != s.step || r.Position != s.pos {
		return protocol.Errorf(protocol.CodeOutOfOrder, "step %d at %d, want %d at %d", r.Step, r.Position, s.step, s.pos)
	}
	s.step, s.pos = s.step+1, s.pos+uint32(len(r.Tokens))
	for i := 0; i < len(r.Hidden); i += 4 {
		v := math.Float32frombits(binary.LittleEndian.Uint32(r.Hidden[i:])) + 1
		binary.LittleEndian.PutUint32(r.Hidden[i:], math.Float32bits(v))
	}
	if s.last {
		tail := r.Hidden[len(r.Hidden)-4:]
		r.Generated = []protocol.TokenID{protocol.TokenID(math.Float32frombits(binary.LittleEndian.Uint32(tail)))}
		r.Hidden = nil
	}
	return s.push(ctx, r)
}

func (s *adderSession) push(ctx context.Context, f protocol.Frame) error {
	select {
	case s.in <- f:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *adderSession) Close() {
	s.end.Do(func() {
		close(s.in)
		s.n.open.Add(-1)
	})
}
