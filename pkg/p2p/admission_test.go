// SPDX-License-Identifier: MIT

package p2p_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	libp2pproto "github.com/libp2p/go-libp2p/core/protocol"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"

	"github.com/shardnode/shardnode/internal/testnet"
	"github.com/shardnode/shardnode/pkg/p2p"
	"github.com/shardnode/shardnode/pkg/protocol"
)

var (
	keyA = bytes.Repeat([]byte{1}, 32)
	keyB = bytes.Repeat([]byte{2}, 32)
)

const foreign libp2pproto.ID = "/test/foreign/1" // stands for the DHT: a protocol that sets its own handler

// serveForeign registers foreign on h the way discovery registers the DHT; it answers one byte.
func serveForeign(h *p2p.Host) {
	h.Guarded().SetStreamHandler(foreign, func(s network.Stream) {
		_, _ = s.Write([]byte{42})
		_ = s.Close()
	})
}

func askForeign(ctx context.Context, h host.Host, p peer.ID) error {
	s, err := h.NewStream(ctx, p, foreign)
	if err != nil {
		return err
	}
	defer s.Close()
	_, err = io.ReadFull(s, make([]byte, 1))
	return err
}

func TestAdmission(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name         string
		dialer, node p2p.Config
		want         string // in the dialer's error; "": admitted
	}{
		{name: "no keys"},
		{name: "same key", dialer: p2p.Config{SwarmKey: keyA}, node: p2p.Config{SwarmKey: keyA}},
		{name: "same key and name", dialer: p2p.Config{Swarm: "lab", SwarmKey: keyA}, node: p2p.Config{Swarm: "lab", SwarmKey: keyA}},
		{name: "key missing here", node: p2p.Config{SwarmKey: keyA}, want: "this swarm needs a key: pass --swarm-key FILE"},
		{name: "key missing there", dialer: p2p.Config{SwarmKey: keyA}, want: "that node has no swarm key"},
		{name: "wrong key", dialer: p2p.Config{SwarmKey: keyB}, node: p2p.Config{SwarmKey: keyA}, want: "the swarm key differs"},
		{name: "wrong swarm", dialer: p2p.Config{Swarm: "a"}, node: p2p.Config{Swarm: "b"}, want: `swarm name differs: this node is in "a", that one in "b"`},
		{
			name: "right key, wrong swarm", dialer: p2p.Config{Swarm: "a", SwarmKey: keyA}, node: p2p.Config{Swarm: "b", SwarmKey: keyA},
			want: "swarm name differs",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dialer, node := testnet.Loopback(t, tt.dialer), testnet.Loopback(t, tt.node)
			node.Serve(newAdder())
			serveForeign(node)
			serveForeign(dialer)
			err := dialer.Connect(t.Context(), node.AddrInfo())
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Fatalf("Connect: %v, want %q in it", err, tt.want)
				}
				if !errors.Is(err, &protocol.Error{Code: protocol.CodeForbidden}) {
					t.Errorf("Connect: %v has not the code forbidden", err)
				}
				if node.Admitted(dialer.ID()) || dialer.Admitted(node.ID()) {
					t.Error("admitted all the same")
				}
				if err := askForeign(t.Context(), dialer.Libp2p(), node.ID()); err == nil {
					t.Error("a protocol was served without admission")
				}
				if _, _, err := dialer.Status(t.Context(), node.AddrInfo()); err == nil {
					t.Error("the status was served without admission")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !node.Admitted(dialer.ID()) || !dialer.Admitted(node.ID()) {
				t.Error("one handshake did not admit both")
			}
			if err := askForeign(t.Context(), dialer.Guarded(), node.ID()); err != nil {
				t.Errorf("dialer asks: %v", err)
			}
			if err := askForeign(t.Context(), node.Guarded(), dialer.ID()); err != nil {
				t.Errorf("listener asks: %v", err)
			}
		})
	}
}

// A guarded stream to a stranger connects and passes admission by itself, as the DHT needs it.
func TestGuardedStreamAdmits(t *testing.T) {
	t.Parallel()
	a, b := testnet.Loopback(t, p2p.Config{SwarmKey: keyA}), testnet.Loopback(t, p2p.Config{SwarmKey: keyA})
	serveForeign(b)
	a.Libp2p().Peerstore().AddAddrs(b.ID(), b.Addrs(), time.Hour)
	if err := askForeign(t.Context(), a.Guarded(), b.ID()); err != nil {
		t.Fatal(err)
	}
	if !b.Admitted(a.ID()) {
		t.Error("not admitted")
	}
}

// stranger is a libp2p host that knows nothing of admission.
func stranger(t *testing.T) host.Host {
	t.Helper()
	h, err := libp2p.New(libp2p.NoListenAddrs, libp2p.Transport(quic.NewTransport), libp2p.DisableMetrics(), libp2p.DisableRelay())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

func TestStrangerIsServedNothingAndCutOff(t *testing.T) {
	t.Parallel()
	node := testnet.Loopback(t, p2p.Config{})
	node.Serve(newAdder())
	serveForeign(node)
	s := stranger(t)
	if err := s.Connect(t.Context(), node.AddrInfo()); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	for _, id := range []libp2pproto.ID{p2p.StatusProtocol, p2p.ModelProtocol, p2p.SessionProtocol, p2p.LinkProtocol, foreign} {
		ns, err := s.NewStream(t.Context(), node.ID(), id)
		if err == nil {
			_, err = ns.Read(make([]byte, 1))
		}
		if want := (&network.StreamError{ErrorCode: network.StreamGated, Remote: true}); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", id, err, want)
		}
	}
	if ns, err := s.NewStream(t.Context(), node.ID(), "/ipfs/ping/1.0.0"); err == nil {
		if _, err := ns.Read(make([]byte, 1)); err == nil {
			t.Error("ping is served")
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*p2p.AdmitTimeout)
	defer cancel()
	waitGone(ctx, t, s, node.ID())
	if d := time.Since(start); d < p2p.AdmitTimeout/2 {
		t.Errorf("cut off after %v, want about %v", d, p2p.AdmitTimeout)
	}
}

// waitGone returns when h has no connection to p.
func waitGone(ctx context.Context, t *testing.T, h host.Host, p peer.ID) {
	t.Helper()
	gone := make(chan struct{}, 1)
	n := &network.NotifyBundle{DisconnectedF: func(network.Network, network.Conn) {
		select {
		case gone <- struct{}{}:
		default:
		}
	}}
	h.Network().Notify(n)
	defer h.Network().StopNotify(n)
	for h.Network().Connectedness(p) == network.Connected {
		select {
		case <-gone:
		case <-ctx.Done():
			t.Fatal("still connected")
		}
	}
}

// Not parallel: so many handshakes at once would make the other tests' dials late.
func TestStrangersAreBounded(t *testing.T) {
	node := testnet.Loopback(t, p2p.Config{})
	const more = 8
	for range p2p.MaxPending + more {
		// Refused ones learn of it now or a moment later.
		_ = stranger(t).Connect(t.Context(), node.AddrInfo())
	}
	if n := p2p.Pending(node); n > p2p.MaxPending {
		t.Errorf("%d connections wait for admission, at most %d may", n, p2p.MaxPending)
	}
	// A member gets in when the strangers have been cut off.
	member := testnet.Loopback(t, p2p.Config{})
	ctx, cancel := context.WithTimeout(t.Context(), 3*p2p.AdmitTimeout)
	defer cancel()
	for {
		err := member.Connect(ctx, node.AddrInfo())
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
}

// A stranger that starts the handshake and falls silent is cut off too.
func TestSilentHandshake(t *testing.T) {
	t.Parallel()
	node := testnet.Loopback(t, p2p.Config{SwarmKey: keyA})
	s := stranger(t)
	if err := s.Connect(t.Context(), node.AddrInfo()); err != nil {
		t.Fatal(err)
	}
	ns, err := s.NewStream(t.Context(), node.ID(), p2p.AdmitProtocol)
	if err != nil {
		t.Fatal(err)
	}
	hello, err := protocol.Append(nil, &protocol.Hello{Version: protocol.Version, Swarm: p2p.DefaultSwarm, HasKey: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ns.Write(hello); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*p2p.AdmitTimeout)
	defer cancel()
	waitGone(ctx, t, s, node.ID())
	if node.Admitted(s.ID()) {
		t.Error("admitted")
	}
}

func TestAdmissionEndsWithTheLastConnection(t *testing.T) {
	t.Parallel()
	a, b := testnet.Loopback(t, p2p.Config{SwarmKey: keyA}), testnet.Loopback(t, p2p.Config{SwarmKey: keyA})
	for range 3 {
		if err := a.Connect(t.Context(), b.AddrInfo()); err != nil {
			t.Fatal(err)
		}
		if !a.Admitted(b.ID()) || !b.Admitted(a.ID()) {
			t.Fatal("not admitted")
		}
		if err := a.Libp2p().Network().ClosePeer(b.ID()); err != nil {
			t.Fatal(err)
		}
		waitGone(t.Context(), t, b.Libp2p(), a.ID())
		if a.Admitted(b.ID()) || b.Admitted(a.ID()) {
			t.Fatal("admission outlived the connection")
		}
	}
}

// Both sides connect at the same time, many times over: no side may refuse the other's streams afterwards.
func TestSimultaneousConnect(t *testing.T) {
	t.Parallel()
	for range 20 {
		a, b := testnet.Loopback(t, p2p.Config{SwarmKey: keyA}), testnet.Loopback(t, p2p.Config{SwarmKey: keyA})
		serveForeign(a)
		serveForeign(b)
		a.Libp2p().Peerstore().AddAddrs(b.ID(), b.Addrs(), time.Hour)
		b.Libp2p().Peerstore().AddAddrs(a.ID(), a.Addrs(), time.Hour)
		errs := make(chan error, 2)
		go func() { errs <- askForeign(t.Context(), a.Guarded(), b.ID()) }()
		go func() { errs <- askForeign(t.Context(), b.Guarded(), a.ID()) }()
		for range 2 {
			if err := <-errs; err != nil {
				t.Fatal(err)
			}
		}
	}
}
