// SPDX-License-Identifier: MIT

package discovery

import (
	"net"
	"slices"
	"testing"
)

// TestMulticast needs an interface that does multicast; containers may have none.
func TestMulticast(t *testing.T) {
	t.Parallel()
	ifaces, err := net.Interfaces()
	if err != nil || !slices.ContainsFunc(ifaces, func(i net.Interface) bool {
		return i.Flags&(net.FlagMulticast|net.FlagUp) == net.FlagMulticast|net.FlagUp
	}) {
		t.Skip("no interface for multicast")
	}
	// A swarm of its own: other runs of this test may be on the LAN.
	swarm := newHost(t, newKey(t), "")
	defer swarm.Close()
	change := func(c *Config) { c.Swarm, c.MDNS = swarm.ID().String(), true }
	startNode(t, "0-15", change)
	startNode(t, "16-31", change)
	c := startCoordinator(t, change)
	c.waitFor(t, "all layers", complete)
}

func TestMulticastRecordsThatDoNotCount(t *testing.T) {
	t.Parallel()
	const id = "12D3KooWBmNuarkYGLuS2VKa2KaqKf5LGod2cdHTA9X4EGP2qPxt"
	infos := parseTXT([]string{
		"dnsaddr=/ip4/192.0.2.1/udp/4001/quic-v1/p2p/" + id,
		"dnsaddr=/ip4/192.0.2.9/udp/4001/quic-v1/p2p/" + id + "/p2p-circuit/p2p/" + id, // through a relay
		"dnsaddr=/ip4/192.0.2.2/udp/4001/quic-v1",                                      // nobody's
		"dnsaddr=nonsense", "path=/", "",
	})
	if len(infos) != 1 || infos[0].ID.String() != id || len(infos[0].Addrs) != 1 || infos[0].Addrs[0].String() != "/ip4/192.0.2.1/udp/4001/quic-v1" {
		t.Errorf("got %v", infos)
	}
}
