// SPDX-License-Identifier: MIT

package p2p_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	libp2pproto "github.com/libp2p/go-libp2p/core/protocol"

	"github.com/shardnode/shardnode/internal/testnet"
	"github.com/shardnode/shardnode/pkg/p2p"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// testWait bounds waits for things that should happen at once.
const testWait = 10 * time.Second

// Frames that a session refuses by name; it must go on working afterwards.
func TestRefusedFramesLeaveTheSession(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		spoil func(*protocol.Step)
		code  protocol.Code
	}{
		"another session": {func(s *protocol.Step) { s.Session[0]++ }, protocol.CodeSessionNotFound},
		"older epoch":     {func(s *protocol.Step) { s.Epoch-- }, protocol.CodeStaleEpoch},
		"newer epoch":     {func(s *protocol.Step) { s.Epoch++ }, protocol.CodeOutOfOrder},
		"skipped step":    {func(s *protocol.Step) { s.Step += 2 }, protocol.CodeOutOfOrder},
		"wrong position":  {func(s *protocol.Step) { s.Position = 9 }, protocol.CodeOutOfOrder},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRoute(t, 2)
			o := r.request(protocol.PathDirect)
			hops := r.mustOpen(t, o)
			good := protocol.Step{Session: o.Session, Epoch: o.Epoch, Tokens: tokens(1, 1), Sample: true}
			bad := good
			tt.spoil(&bad)
			if err := hops[0].Send(&bad); err != nil {
				t.Fatal(err)
			}
			e, ok := receive(t, hops[0]).(*protocol.Error)
			if !ok || e.Code != tt.code || e.Session != o.Session || e.Epoch != o.Epoch || e.Layers != hops[0].Hop().Layers {
				t.Fatalf("%+v, want code %s", e, tt.code)
			}
			if out, ok := exchange(t, protocol.PathDirect, hops, &good).(*protocol.IntermediateResult); !ok || out.Generated[0] != 3 {
				t.Errorf("the session did not go on: %+v", out)
			}
		})
	}
}

func TestEndlessRefusalsEndTheSession(t *testing.T) {
	t.Parallel()
	r := newRoute(t, 1)
	o := r.request(protocol.PathDirect)
	hops := r.mustOpen(t, o)
	bad := protocol.Step{Session: o.Session, Epoch: 9, Tokens: tokens(1, 1)}
	var last protocol.Code
	for i := 0; ; i++ {
		_ = hops[0].Send(&bad)
		f, err := hops[0].Recv()
		if err != nil {
			break
		}
		if e, ok := f.(*protocol.Error); ok {
			last = e.Code
		}
		if i > 100 {
			t.Fatal("no end")
		}
	}
	if last != protocol.CodeBadFrame {
		t.Errorf("last word: %s", last)
	}
	r.waitIdle(t)
}

// rawStream is an admitted peer's stream below the framing.
type rawStream struct {
	network.Stream
	br *bufio.Reader
}

func openRaw(t *testing.T, from, to *p2p.Host, id libp2pproto.ID) rawStream {
	t.Helper()
	if err := from.Connect(t.Context(), to.AddrInfo()); err != nil {
		t.Fatal(err)
	}
	s, err := from.Guarded().NewStream(t.Context(), to.ID(), id)
	if err != nil {
		t.Fatal(err)
	}
	_ = s.SetDeadline(time.Now().Add(testWait))
	t.Cleanup(func() { _ = s.Reset() })
	return rawStream{s, bufio.NewReader(s)}
}

func (s rawStream) send(t *testing.T, f protocol.Frame) {
	t.Helper()
	if _, err := s.Write(encode(t, f)); err != nil {
		t.Fatal(err)
	}
}

func encode(t *testing.T, f protocol.Frame) []byte {
	t.Helper()
	b, err := protocol.Append(nil, f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (s rawStream) recv() (protocol.Frame, error) {
	n, err := protocol.ReadLength(s.br, protocol.MaxFrame)
	if err != nil {
		return nil, err
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(s.br, b); err != nil {
		return nil, err
	}
	return protocol.Decode(b)
}

// openRawSession opens a one-hop session on a raw stream.
func openRawSession(t *testing.T, r *route) (rawStream, *protocol.Open) {
	t.Helper()
	o := r.request(protocol.PathDirect)
	s := openRaw(t, r.coordinator, r.hosts[0], p2p.SessionProtocol)
	s.send(t, o)
	if f, err := s.recv(); err != nil || f.FrameType() != protocol.TypeOpened {
		t.Fatalf("open: %v, %v", f, err)
	}
	return s, o
}

func TestOversizedFrameResetsTheStream(t *testing.T) {
	t.Parallel()
	r := newRoute(t, 1)
	for _, tt := range []struct {
		id    libp2pproto.ID
		limit uint64
	}{
		{p2p.StatusProtocol, 64 << 10}, {p2p.ModelProtocol, 64 << 10},
		{p2p.SessionProtocol, protocol.MaxFrame}, {p2p.LinkProtocol, protocol.MaxFrame},
	} {
		s := openRaw(t, r.coordinator, r.hosts[0], tt.id)
		if _, err := s.Write(binary.AppendUvarint(nil, tt.limit+1)); err != nil {
			t.Fatal(err)
		}
		var err error
		for err == nil { // a session names the reason first
			_, err = s.recv()
		}
		if tt.id == p2p.SessionProtocol {
			continue
		}
		if want := (&network.StreamError{ErrorCode: network.StreamProtocolViolation, Remote: true}); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", tt.id, err, want)
		}
	}
	// Within a session.
	s, _ := openRawSession(t, r)
	if _, err := s.Write(binary.AppendUvarint(nil, protocol.MaxFrame+1)); err != nil {
		t.Fatal(err)
	}
	_, err := s.recv()
	if want := (&network.StreamError{ErrorCode: network.StreamProtocolViolation, Remote: true}); !errors.Is(err, want) {
		t.Errorf("in a session: %v, want %v", err, want)
	}
	r.waitIdle(t)
}

func TestMalformedFrameEndsTheSession(t *testing.T) {
	t.Parallel()
	for name, frame := range map[string][]byte{
		"garbage":         {3, 0xff, 0xff, 0xff},
		"unknown type":    {2, 0x91, 0x7f},
		"zero length":     {0},
		"not an input":    nil, // filled below
		"trailing bytes":  nil,
		"length not min.": {0x81, 0x00},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRoute(t, 1)
			s, o := openRawSession(t, r)
			switch name {
			case "not an input":
				frame = encode(t, &protocol.StatusRequest{})
			case "trailing bytes":
				frame = append(encode(t, &protocol.Close{Session: o.Session, Epoch: o.Epoch}), 0)
				frame[0]++
			}
			if _, err := s.Write(frame); err != nil {
				t.Fatal(err)
			}
			f, err := s.recv()
			if e, ok := f.(*protocol.Error); err == nil && (!ok || e.Code != protocol.CodeBadFrame) {
				t.Errorf("answer %+v", f)
			}
			for err == nil {
				_, err = s.recv()
			}
			r.waitIdle(t)
		})
	}
}

func TestTruncatedFrameEndsTheSession(t *testing.T) {
	t.Parallel()
	r := newRoute(t, 1)
	s, o := openRawSession(t, r)
	b := encode(t, &protocol.Step{Session: o.Session, Epoch: o.Epoch, Tokens: tokens(1, 100)})
	if _, err := s.Write(b[:len(b)/2]); err != nil {
		t.Fatal(err)
	}
	if err := s.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	r.waitIdle(t)
}

// A hop computes before its link is there; its output waits for it.
func TestStepBeforeTheLink(t *testing.T) {
	t.Parallel()
	r := newRoute(t, 2)
	o := r.request(protocol.PathDirect)
	s := openRaw(t, r.coordinator, r.hosts[0], p2p.SessionProtocol)
	s.send(t, o) // hop 1 has got no Open yet
	if f, err := s.recv(); err != nil || f.FrameType() != protocol.TypeOpened {
		t.Fatalf("%+v, %v", f, err)
	}
	s.send(t, &protocol.Step{Session: o.Session, Epoch: o.Epoch, Tokens: tokens(1, 1), Sample: true})
	second := *o
	second.Index = 1
	hop, err := r.coordinator.OpenHop(t.Context(), o.Route[1], &second)
	if err != nil {
		t.Fatal(err)
	}
	defer hop.Close()
	if out, ok := receive(t, hop).(*protocol.IntermediateResult); !ok || out.Generated[0] != 3 {
		t.Errorf("%+v", out)
	}
}

// Only the hop before may attach, once.
func TestForeignLink(t *testing.T) {
	t.Parallel()
	r := newRoute(t, 3)
	o := r.request(protocol.PathDirect)
	hops := r.mustOpen(t, o)
	// Hops answer Opened before they are linked; a token that came through shows that all links are there.
	in := &protocol.Step{Session: o.Session, Epoch: o.Epoch, Tokens: tokens(1, 1), Sample: true}
	if out, ok := exchange(t, protocol.PathDirect, hops, in).(*protocol.IntermediateResult); !ok {
		t.Fatalf("%+v", out)
	}
	stranger := testnet.Loopback(t, p2p.Config{})
	for name, tt := range map[string]struct {
		from   *p2p.Host
		attach protocol.Attach
		code   protocol.Code
	}{
		"not in the route": {stranger, protocol.Attach{Session: o.Session, Epoch: o.Epoch, Index: 2}, protocol.CodeForbidden},
		"wrong hop":        {r.hosts[0], protocol.Attach{Session: o.Session, Epoch: o.Epoch, Index: 2}, protocol.CodeForbidden},
		"second link":      {r.hosts[1], protocol.Attach{Session: o.Session, Epoch: o.Epoch, Index: 2}, protocol.CodeSessionNotFound},
	} {
		s := openRaw(t, tt.from, r.hosts[2], p2p.LinkProtocol)
		s.send(t, &tt.attach)
		f, err := s.recv()
		if e, ok := f.(*protocol.Error); !ok || e.Code != tt.code {
			t.Errorf("%s: %+v, %v", name, f, err)
		}
	}
}
