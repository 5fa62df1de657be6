// SPDX-License-Identifier: MIT

package p2p_test

import (
	"bytes"
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
	rowBytes int             // of an exported row and layer
	broken   atomic.Bool     // an export ends in the middle, with an error

	mu       sync.Mutex // guards sessions
	sessions map[protocol.SessionID]*adderSession
}

func newAdder() *adder {
	return &adder{hidden: 4, manifest: []byte("manifest of the adder"), rowBytes: 8, sessions: map[protocol.SessionID]*adderSession{}}
}

func (n *adder) model() protocol.ModelID { return sha256.Sum256(n.manifest) }

func (n *adder) Status() *protocol.Status {
	return &protocol.Status{Model: n.model(), ModelName: "adder", NLayers: 8, Layers: protocol.LayerRange{From: 0, To: 2}, Sessions: uint32(n.open.Load())}
}

func (n *adder) Manifest() []byte { return n.manifest }

func (n *adder) OpenSession(_ string, o *protocol.Open, deliver func(protocol.Frame) error) (p2p.Session, *protocol.Opened, error) {
	if n.refuse != nil {
		return nil, nil, n.refuse
	}
	n.open.Add(1)
	s := &adderSession{n: n, open: o, last: int(o.Index) == len(o.Route)-1, in: make(chan protocol.Frame, 4)}
	n.mu.Lock()
	n.sessions[o.Session] = s
	n.mu.Unlock()
	s.out.Go(func() {
		for f := range s.in {
			if deliver(f) != nil {
				return
			}
		}
	})
	return s, &protocol.Opened{Session: o.Session, Epoch: o.Epoch, KVBytes: uint64(o.Positions)}, nil
}

// Export implements p2p.Node: four rows a part, each byte of a row its position.
func (n *adder) Export(_ context.Context, f *protocol.Export, send func(*protocol.KVRows) error) error {
	n.mu.Lock()
	s := n.sessions[f.Session]
	n.mu.Unlock()
	if s == nil {
		return protocol.Errorf(protocol.CodeSessionNotFound, "session %s is not open here", f.Session)
	}
	for at := f.Position; at < f.End; at += 4 {
		if n.broken.Load() && at >= f.End/2 {
			return protocol.Errorf(protocol.CodeOutOfOrder, "no more rows than %d", at)
		}
		part := &protocol.KVRows{Session: f.Session, Layers: f.Layers, Position: at, Rows: min(4, f.End-at)}
		for row := range part.Rows {
			part.KV = append(part.KV, bytes.Repeat([]byte{byte(at + row)}, n.rowBytes*f.Layers.Len())...)
		}
		part.Digest = protocol.KVDigest(part)
		if err := send(part); err != nil {
			return err
		}
	}
	return nil
}

type adderSession struct {
	n    *adder
	open *protocol.Open
	last bool
	rows []uint32 // imported, by layer
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

// Import implements p2p.Session.
func (s *adderSession) Import(_ context.Context, f *protocol.KVRows) error {
	mine := s.open.Route[s.open.Index].Layers
	if s.rows == nil {
		s.rows = make([]uint32, mine.Len())
	}
	for row := range f.Rows {
		size := s.n.rowBytes * f.Layers.Len()
		if b := f.KV[int(row)*size:][:size]; !bytes.Equal(b, bytes.Repeat([]byte{byte(f.Position + row)}, size)) || f.Digest != protocol.KVDigest(f) {
			return protocol.Errorf(protocol.CodeBadFrame, "row %d is % x", f.Position+row, b)
		}
	}
	for l := f.Layers.From; l < f.Layers.To; l++ {
		if s.rows[l-mine.From] != f.Position {
			return protocol.Errorf(protocol.CodeOutOfOrder, "row %d of layer %d", f.Position, l)
		}
		s.rows[l-mine.From] += f.Rows
	}
	return nil
}

// Imported implements p2p.Session.
func (s *adderSession) Imported(context.Context) (uint32, error) {
	if s.rows != nil {
		s.pos = slices.Min(s.rows)
	}
	return s.pos, nil
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
		s.n.mu.Lock()
		defer s.n.mu.Unlock()
		if s.n.sessions[s.open.Session] == s {
			delete(s.n.sessions, s.open.Session)
		}
	})
}
