// SPDX-License-Identifier: MIT

package p2p_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/shardnode/shardnode/internal/testnet"
	"github.com/shardnode/shardnode/pkg/p2p"
	"github.com/shardnode/shardnode/pkg/protocol"
)

const (
	oneWay    = 25 * time.Millisecond
	bandwidth = 100_000_000 // bits per second
)

// simRoute makes a coordinator (host 0) and n nodes (hosts 1 to n) on a simulated network, in a bubble of virtual time.
func simRoute(t *testing.T, n int, f func(t *testing.T, net *testnet.Sim, r *route)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		net := testnet.NewSim(t, oneWay, bandwidth)
		core, logs := observer.New(zap.DebugLevel)
		cfg := p2p.Config{SwarmKey: keyA, Log: zap.New(core)}
		coordinator := net.Host(cfg)
		hosts := make([]*p2p.Host, n)
		for i := range hosts {
			hosts[i] = net.Host(cfg)
		}
		net.Start()
		defer net.Close()
		r := serveRoute(coordinator, hosts)
		r.logs = logs
		f(t, net, r)
	})
}

// A token costs N+1 one-way trips on the direct path and 2N on the relay path.
func TestSimTripsPerToken(t *testing.T) {
	for name, tt := range map[string]struct {
		path  protocol.Path
		trips int
	}{"direct": {protocol.PathDirect, 5}, "relay": {protocol.PathRelay, 8}} {
		t.Run(name, func(t *testing.T) {
			simRoute(t, 4, func(t *testing.T, _ *testnet.Sim, r *route) {
				for _, n := range r.nodes {
					n.hidden = 2048 // 8 KiB a row
				}
				o := r.request(tt.path)
				hops, errs := r.open(t.Context(), o)
				if err := errors.Join(errs...); err != nil {
					t.Fatal(err)
				}
				for i := range 5 {
					start := time.Now()
					in := &protocol.Step{Session: o.Session, Epoch: 1, Step: uint32(i), Position: uint32(i), Tokens: tokens(9, 1), Sample: true}
					out, ok := exchange(t, tt.path, hops, in).(*protocol.IntermediateResult)
					took := time.Since(start)
					if !ok || out.Generated[0] != 13 {
						t.Fatalf("%+v", out)
					}
					// 8 KiB at 100 Mbit/s are 0.7 ms on each of two links of a trip.
					want := time.Duration(tt.trips) * oneWay
					if i == 0 {
						continue // it waits for the links
					}
					if took < want || took > want+time.Duration(tt.trips)*2*time.Millisecond {
						t.Errorf("step %d took %v, want %d trips of %v", i, took, tt.trips, oneWay)
					}
				}
				for _, h := range hops {
					h.Close()
				}
			})
		})
	}
}

// Admission and a whole open on fresh connections, in round trips.
func TestSimOpenTime(t *testing.T) {
	simRoute(t, 4, func(t *testing.T, _ *testnet.Sim, r *route) {
		start := time.Now()
		o := r.request(protocol.PathDirect)
		hops, errs := r.open(t.Context(), o)
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		opened := time.Since(start)
		exchange(t, protocol.PathDirect, hops, &protocol.Step{Session: o.Session, Epoch: 1, Tokens: tokens(9, 1), Sample: true})
		answered := time.Since(start)
		t.Logf("open %v, first token %v", opened, answered)
		// Connect, identify and admission of the coordinator, and Open: 5 round trips. The same of the links, and Attach: 5 more. And the step.
		if opened > 6*2*oneWay {
			t.Errorf("open took %v", opened)
		}
		if answered > 12*2*oneWay+5*oneWay {
			t.Errorf("the first token took %v", answered)
		}
		for _, h := range hops {
			h.Close()
		}
	})
}

// A peer that begins a frame and stalls is cut off; one that rests between frames is not.
func TestSimStalledFrame(t *testing.T) {
	simRoute(t, 1, func(t *testing.T, _ *testnet.Sim, r *route) {
		s, o := openRawSession(t, r)
		if err := s.SetDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute) // virtual: a user who thinks
		good := encode(t, &protocol.Step{Session: o.Session, Epoch: 1, Tokens: tokens(1, 1), Sample: true})
		if _, err := s.Write(good); err != nil {
			t.Fatal(err)
		}
		if f, err := s.recv(); err != nil || f.FrameType() != protocol.TypeIntermediateResult {
			t.Fatalf("after a rest: %v, %v", f, err)
		}
		start := time.Now()
		if _, err := s.Write(good[:len(good)-1]); err != nil {
			t.Fatal(err)
		}
		_, err := s.recv()
		if took := time.Since(start); err == nil || took < 9*time.Second || took > 12*time.Second {
			t.Errorf("cut off after %v: %v", took, err)
		}
		if n := r.nodes[0].open.Load(); n != 0 {
			synctest.Wait()
			if n = r.nodes[0].open.Load(); n != 0 {
				t.Errorf("%d sessions left", n)
			}
		}
	})
}

// A host that only dials finds its place on the network too.
func TestSimDialOnly(t *testing.T) {
	simRoute(t, 1, func(t *testing.T, net *testnet.Sim, r *route) {
		_, options := net.Endpoint()
		c, err := p2p.NewHost(p2p.Config{SwarmKey: keyA, DialOnly: true, Options: options})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, rtt, err := c.Status(t.Context(), r.hosts[0].AddrInfo())
		if err != nil || rtt < 2*oneWay || rtt > 3*oneWay {
			t.Errorf("status: round trip %v, %v", rtt, err)
		}
	})
}

func TestSimDeadAddress(t *testing.T) {
	simRoute(t, 1, func(t *testing.T, net *testnet.Sim, r *route) {
		net.Cut(1, true)
		start := time.Now()
		err := r.coordinator.Connect(t.Context(), r.hosts[0].AddrInfo())
		if !errors.Is(err, &protocol.Error{Code: protocol.CodeUnreachable}) {
			t.Errorf("dial a dead host: %v", err)
		}
		if took := time.Since(start); took > 2500*time.Millisecond {
			t.Errorf("gave up after %v, want 2 s on a private network", took)
		}
		// Back again: the failure is not held against it.
		net.Cut(1, false)
		if err := r.coordinator.Connect(t.Context(), r.hosts[0].AddrInfo()); err != nil {
			t.Error(err)
		}
	})
}

// A coordinator whose cable is pulled frees its sessions everywhere within 2 s.
func TestSimCutCoordinatorFreesTheSession(t *testing.T) {
	simRoute(t, 2, func(t *testing.T, net *testnet.Sim, r *route) {
		_, errs := r.open(t.Context(), r.request(protocol.PathDirect))
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		net.Cut(0, true)
		time.Sleep(2 * time.Second)
		for i, n := range r.nodes {
			if open := n.open.Load(); open != 0 {
				t.Errorf("hop %d: %d sessions left", i, open)
			}
		}
		if r.hosts[0].Admitted(r.coordinator.ID()) {
			t.Error("still admitted")
		}
	})
}

// Without key and without Open, a public address is refused by name before a packet is sent.
func TestPublicAddressNeedsAKey(t *testing.T) {
	t.Parallel()
	id, err := peer.Decode("12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp")
	if err != nil {
		t.Fatal(err)
	}
	h := testnet.Loopback(t, p2p.Config{})
	err = h.Connect(t.Context(), peer.AddrInfo{ID: id, Addrs: []multiaddr.Multiaddr{multiaddr.StringCast("/ip4/192.0.2.1/udp/4001/quic-v1")}})
	if !errors.Is(err, &protocol.Error{Code: protocol.CodeForbidden}) {
		t.Error(err)
	}
}
