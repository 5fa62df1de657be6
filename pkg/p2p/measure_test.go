// SPDX-License-Identifier: MIT

package p2p_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/shardnode/shardnode/internal/testnet"
	"github.com/shardnode/shardnode/pkg/p2p"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// contact is how a host is named to others.
func contact(h *p2p.Host) protocol.Contact {
	c := protocol.Contact{Peer: h.ID().String()}
	for _, a := range h.Addrs() {
		c.Addrs = append(c.Addrs, a.String())
	}
	return c
}

// A node that is asked measures what packets suffer on the way to others: latency, jitter, loss of that direction, bandwidth.
func TestSimLinksAreMeasured(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		net := testnet.NewSim(t, oneWay, bandwidth)
		weak := testnet.Path{Latency: 40 * time.Millisecond, Jitter: 8 * time.Millisecond, Loss: 0.02}
		net.Shape(5, func(from, to int) testnet.Path {
			switch {
			case from == 1 && to == 2:
				return weak
			case from == 2 && to == 1:
				return testnet.Path{Latency: weak.Latency, Jitter: weak.Jitter}
			}
			return testnet.Path{Latency: oneWay}
		})
		asker := net.Host(p2p.Config{SwarmKey: keyA})
		a, b, c := net.Host(p2p.Config{SwarmKey: keyA}), net.Host(p2p.Config{SwarmKey: keyA}), net.Host(p2p.Config{SwarmKey: keyA})
		net.Start()
		defer net.Close()
		var links []protocol.LinkEstimate
		for range 4 { // estimates of a few trips are rough
			var err error
			if links, err = asker.Links(t.Context(), a.AddrInfo(), []protocol.Contact{contact(b), contact(c), contact(a)}); err != nil {
				t.Fatal(err)
			}
			if err := a.MeasureLink(t.Context(), b.AddrInfo()); err != nil {
				t.Fatal(err)
			}
		}
		if len(links) != 2 || links[0].Peer != b.ID().String() || links[1].Peer != c.ID().String() {
			t.Fatalf("links %+v", links)
		}
		near := func(what string, got, want, by float64) {
			t.Logf("%s: %.4g, want %.4g", what, got, want)
			if got < want*(1-by) || got > want*(1+by) {
				t.Errorf("%s: %.4g, want %.4g", what, got, want)
			}
		}
		l, _ := a.Link(b.ID())
		near("weak RTT", float64(l.RTT), float64(2*weak.Latency), 0.1)
		near("weak jitter", float64(l.Jitter), float64(weak.Jitter), 0.5)
		// QUIC takes late packets for lost, until they come.
		if loss := float64(l.Loss) / 1e6; loss < weak.Loss/2 || loss > 4*weak.Loss {
			t.Errorf("weak loss: %.4g, want %.4g", loss, weak.Loss)
		}
		near("RTT", float64(links[1].RTT), float64(2*oneWay), 0.02)
		near("bandwidth", float64(links[1].Bandwidth), bandwidth/8, 0.15)
		if links[1].Jitter > uint64(time.Millisecond) || links[1].Loss > 2000 {
			t.Errorf("a steady link: %+v", links[1])
		}
	})
}

// Who lies about a burst's size, or asks for nonsense, is cut off; who asks for links to nobody gets what there is.
func TestMeasureTakesNoNonsense(t *testing.T) {
	t.Parallel()
	asker, node := testnet.Loopback(t, p2p.Config{}), testnet.Loopback(t, p2p.Config{})
	if err := asker.Connect(t.Context(), node.AddrInfo()); err != nil {
		t.Fatal(err)
	}
	for name, frames := range map[string][]protocol.Frame{
		"a part too large":        {&protocol.Burst{Rest: 1, Pad: []byte{0}}, &protocol.Burst{Rest: 0, Pad: []byte{0, 0}}},
		"a part of a larger rest": {&protocol.Burst{Rest: 4, Pad: []byte{0}}, &protocol.Burst{Rest: 4, Pad: []byte{0}}},
		"another frame within":    {&protocol.Burst{Rest: 4, Pad: []byte{0}}, &protocol.LinksRequest{}},
		"a frame of another kind": {&protocol.StatusRequest{}},
	} {
		ns, err := asker.Libp2p().NewStream(t.Context(), node.ID(), p2p.MeasureProtocol)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range frames {
			raw, err := protocol.Append(nil, f)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = ns.Write(raw)
		}
		_ = ns.SetReadDeadline(time.Now().Add(testWait))
		if n, err := ns.Read(make([]byte, 1)); n > 0 || err == nil {
			t.Errorf("%s: answered", name)
		}
		_ = ns.ResetWithError(network.StreamNoError)
	}
	links, err := asker.Links(t.Context(), node.AddrInfo(), []protocol.Contact{{Peer: "nobody"}, contact(node)})
	if err != nil || len(links) != 0 {
		t.Errorf("%+v, %v", links, err)
	}
}
