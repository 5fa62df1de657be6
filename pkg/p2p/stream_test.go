// SPDX-License-Identifier: MIT

package p2p

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// loop is a stream whose written bytes come back, for measuring what is ours alone.
type loop struct {
	network.Stream
	mem scope
	buf bytes.Buffer
}

type scope struct {
	network.StreamScope
	reserved int
}

func (l *loop) Read(p []byte) (int, error)          { return l.buf.Read(p) }
func (l *loop) Write(p []byte) (int, error)         { return l.buf.Write(p) }
func (l *loop) SetReadDeadline(time.Time) error     { return nil }
func (l *loop) SetWriteDeadline(time.Time) error    { return nil }
func (l *loop) Scope() network.StreamScope          { return &l.mem }
func (s *scope) ReserveMemory(n int, _ uint8) error { s.reserved += n; return nil }
func (s *scope) ReleaseMemory(n int)                { s.reserved -= n }

func result(rows, hidden int) *protocol.IntermediateResult {
	return &protocol.IntermediateResult{
		Tokens: make([]protocol.TokenID, rows), DType: protocol.F32, Hidden: make([]byte, rows*hidden*4),
		Hops: []protocol.HopTiming{{Layers: protocol.LayerRange{From: 0, To: 8}, Rows: uint32(rows)}},
	}
}

func TestDecodeStepAllocatesNothing(t *testing.T) {
	l := new(loop)
	s := newStream(l, sessionLimits)
	out := result(1, 4096)
	var in inputFrames
	allocs := testing.AllocsPerRun(200, func() {
		if err := s.WriteFrame(out); err != nil {
			t.Fatal(err)
		}
		typ, body, err := s.Next()
		if err != nil {
			t.Fatal(err)
		}
		if err := s.decode(body, in.frame(typ)); err != nil {
			t.Fatal(err)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations per step", allocs)
	}
	if len(in.result.Hidden) != 16384 {
		t.Errorf("%d bytes of hidden states", len(in.result.Hidden))
	}
}

// A prefill chunk's buffers do not stay with the session, and the resource manager knows what does.
func TestBuffersShrinkAfterPrefill(t *testing.T) {
	t.Parallel()
	l := new(loop)
	s := newStream(l, sessionLimits)
	pass := func(f protocol.Frame) {
		t.Helper()
		if err := s.WriteFrame(f); err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.Next(); err != nil {
			t.Fatal(err)
		}
		if l.mem.reserved != cap(s.body.b) {
			t.Errorf("%d bytes reserved, buffer of %d", l.mem.reserved, cap(s.body.b))
		}
	}
	pass(result(512, 4096))
	if cap(s.body.b) < 8<<20 {
		t.Fatalf("buffer of %d bytes holds a chunk of 8 MiB", cap(s.body.b))
	}
	for range shrinkAfter {
		pass(result(1, 4096))
	}
	if r, w := cap(s.body.b), cap(s.w.b); r > keepBuffer || w > keepBuffer {
		t.Errorf("buffers of %d and %d bytes after %d decode steps", r, w, shrinkAfter)
	}
}

// A length is only a claim: memory follows the bytes that arrive.
func TestClaimedLengthAllocatesLittle(t *testing.T) {
	t.Parallel()
	l := new(loop)
	s := newStream(l, sessionLimits)
	l.buf.Write([]byte{0x80, 0x80, 0x80, 0x20}) // 64 MiB
	l.buf.Write(make([]byte, 100<<10))
	if _, err := s.readBody(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("a truncated frame: %v", err)
	}
	if l.mem.reserved > 1<<20 {
		t.Errorf("%d bytes reserved for 100 KiB received", l.mem.reserved)
	}
}

func TestTransferTime(t *testing.T) {
	t.Parallel()
	if got := transferTime(0); got != frameTimeout {
		t.Error(got)
	}
	if got, want := transferTime(16<<20), frameTimeout+256*time.Second; got != want {
		t.Errorf("16 MiB: %v, want %v", got, want)
	}
}
