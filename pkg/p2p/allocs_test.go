// SPDX-License-Identifier: MIT

//go:build !race

package p2p

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	libp2p "github.com/libp2p/go-libp2p/core/protocol"
	"go.uber.org/zap"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// end is one end of a stream without a network: what is ours alone.
type end struct {
	network.Stream
	conn net.Conn
	mem  scope
}

func (e *end) Read(p []byte) (int, error)                   { return e.conn.Read(p) }
func (e *end) Write(p []byte) (int, error)                  { return e.conn.Write(p) }
func (e *end) Close() error                                 { return e.conn.Close() }
func (e *end) ResetWithError(network.StreamErrorCode) error { return e.conn.Close() }
func (e *end) SetReadDeadline(time.Time) error              { return nil }
func (e *end) SetWriteDeadline(time.Time) error             { return nil }
func (e *end) Scope() network.StreamScope                   { return &e.mem }
func (e *end) Protocol() libp2p.ID                          { return SessionProtocol }

// pair returns both ends of a stream that is watched, as those of sessions are.
func pair() (*Stream, *Stream) {
	a, b := net.Pipe()
	s, t := newStream(&end{conn: a}, sessionLimits), newStream(&end{conn: b}, sessionLimits)
	s.watch, t.watch = new(watch), new(watch)
	return s, t
}

// answering is a hop's engine that answers each input at once.
type answering struct {
	Session
	answer *protocol.IntermediateResult
	ss     *session
}

func (a *answering) Submit(_ context.Context, f protocol.Frame) error {
	a.answer.Session, a.answer.Epoch = identity(f)
	return a.ss.deliver(a.answer)
}

// TestRouteAllocatesNothing: neither the coordinator's streams nor the sessions at two hops, with the link between them, allocate
// anything in a decode step. Not parallel: AllocsPerRun counts the whole process. (Under the race detector pools forget on purpose.)
func TestRouteAllocatesNothing(t *testing.T) {
	open := protocol.Open{
		Session: protocol.SessionID{1}, Epoch: 3, Path: protocol.PathDirect,
		Route: []protocol.Hop{{Peer: "a", Layers: protocol.LayerRange{From: 0, To: 8}}, {Peer: "b", Layers: protocol.LayerRange{From: 8, To: 16}}},
	}
	ctx, cancel := context.WithCancel(t.Context())
	var reading sync.WaitGroup
	defer reading.Wait()
	hop := func(index uint32, coord, next *Stream, answer *protocol.IntermediateResult) *session {
		o := open
		o.Index = index
		ss := &session{log: zap.NewNop(), open: &o, coord: coord, next: next, ctx: ctx, attached: make(chan struct{})}
		close(ss.attached)
		ss.node = &answering{answer: answer, ss: ss}
		return ss
	}
	toFirst, first := pair()
	toLast, last := pair()
	link, linked := pair()
	defer toFirst.Close()
	defer last.Close()
	defer link.Close()
	defer cancel() // before a stream ends: that is no loss
	drawn := &protocol.IntermediateResult{DType: protocol.F32, Tokens: make([]protocol.TokenID, 1), Sample: true, Generated: make([]protocol.TokenID, 1), Hops: make([]protocol.HopTiming, 2)}
	for i := range drawn.Hops {
		drawn.Hops[i] = protocol.HopTiming{Layers: open.Route[i].Layers, Rows: 1}
	}
	a, b := hop(0, first, link, result(1, 4096)), hop(1, last, nil, drawn)
	reading.Go(func() { a.read(first, true) })
	reading.Go(func() { b.read(linked, true) })

	send, recv := HopStream{s: toFirst, hop: open.Route[0]}, HopStream{s: toLast, hop: open.Route[1]}
	step := &protocol.Step{Session: open.Session, Epoch: open.Epoch, Tokens: make([]protocol.TokenID, 1), Sample: true}
	decode := func() {
		if err := send.Send(step); err != nil {
			t.Error(err)
		}
		f, err := recv.Recv()
		if err != nil {
			t.Fatal(err)
		}
		r, ok := f.(*protocol.IntermediateResult)
		if !ok || len(r.Generated) != 1 {
			t.Fatalf("%+v", f)
		}
		step.Tokens[0] = r.Generated[0]
		step.Step++
		step.Position++
	}
	for range 8 { // buffers reach their size
		decode()
	}
	if n := testing.AllocsPerRun(200, decode); n != 0 {
		t.Errorf("%v allocations a decode step", n)
	}
}
