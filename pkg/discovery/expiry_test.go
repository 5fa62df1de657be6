// SPDX-License-Identifier: MIT

package discovery

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/x/simlibp2p"
	"github.com/marcopolo/simnet"
)

// simHost starts a host on a simulated network. What is experimental about that stays in this function.
func simHost(tb testing.TB, n *simnet.Simnet, index int) host.Host {
	tb.Helper()
	link := simnet.LinkSettings{BitsPerSecond: 100 * simlibp2p.OneMbps}
	return newHost(tb, newKey(tb), fmt.Sprintf("/ip4/1.0.0.%d/udp/8000/quic-v1", index),
		simlibp2p.QUICSimnet(n, simnet.NodeBiDiLinkSettings{Downlink: link, Uplink: link}),
		libp2p.DisableIdentifyAddressDiscovery(), // it stalls the bubble
	)
}

// TestRecordsOfADeadNodeExpire runs in virtual time: a node that is gone is named by the DHT for a minute, and then no
// more; a node that lives stays.
func TestRecordsOfADeadNodeExpire(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		network := &simnet.Simnet{LatencyFunc: simnet.StaticLatency(5 * time.Millisecond)}
		hosts := []host.Host{simHost(t, network, 1), simHost(t, network, 2), simHost(t, network, 3)}
		network.Start()
		a := start(t, hosts[0], "0-15", nil)
		b := start(t, hosts[1], "16-31", bootstrap(a))
		c := start(t, hosts[2], "", bootstrap(a))
		c.waitFor(t, "both nodes", complete)

		time.Sleep(90 * time.Second) // lives on by renewal
		if named, signed := c.inDHT(b); !named || !signed {
			t.Fatalf("a living node after 90 s: provider %v, signed record %v", named, signed)
		}
		b.stop()
		died := time.Now()
		time.Sleep(time.Second)
		if named, _ := c.inDHT(b); !named {
			t.Error("the DHT forgot the node at once; this test then shows nothing")
		}
		if c.Directory().Node(b.host.ID().String()) != nil {
			t.Error("the directory still has a node that closed its connection")
		}
		for named := true; named; named, _ = c.inDHT(b) {
			time.Sleep(time.Second)
		}
		if after := time.Since(died); after > providerValidity+time.Second {
			t.Errorf("named for %s after its death, want at most %s", after, providerValidity)
		}
		if named, signed := c.inDHT(a); !named || !signed {
			t.Errorf("the living node: provider %v, signed record %v", named, signed)
		}
		c.stop()
		a.stop()
		network.Close()
	})
}

// inDHT asks the DHT whether it names a node as a provider, and whether it holds its signed record.
func (m *member) inDHT(node *member) (named, signed bool) {
	ctx, cancel := context.WithTimeout(context.Background(), lookupTimeout)
	defer cancel()
	for p := range m.dht.FindProvidersAsync(ctx, swarmKey(testSwarm), 0) {
		named = named || p.ID == node.host.ID()
	}
	_, err := m.dht.GetValue(ctx, recordKey(node.host.ID()))
	return named, err == nil
}
