// SPDX-License-Identifier: MIT

package p2p

import (
	"net/netip"
	"sync"

	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"go.uber.org/zap"
)

// localGater keeps a node that has neither a swarm key nor Config.Open on this machine and its private networks: it
// neither dials nor accepts anything else.
type localGater struct {
	log  *zap.Logger
	once sync.Once
}

var _ connmgr.ConnectionGater = (*localGater)(nil)

func (g *localGater) InterceptPeerDial(peer.ID) bool { return true }

func (g *localGater) InterceptAddrDial(_ peer.ID, a multiaddr.Multiaddr) bool {
	return g.allow("dial", a)
}

func (g *localGater) InterceptAccept(c network.ConnMultiaddrs) bool {
	return g.allow("accept", c.RemoteMultiaddr())
}

func (g *localGater) InterceptSecured(_ network.Direction, _ peer.ID, c network.ConnMultiaddrs) bool {
	return localAddr(c.RemoteMultiaddr())
}

func (g *localGater) InterceptUpgraded(network.Conn) (bool, control.DisconnectReason) { return true, 0 }

func (g *localGater) allow(verb string, a multiaddr.Multiaddr) bool {
	if localAddr(a) {
		return true
	}
	g.once.Do(func() {
		g.log.Warn("public addresses are refused without a swarm key: pass --swarm-key FILE, or --open to accept strangers",
			zap.String("first", verb), zap.Stringer("address", a))
	})
	return false
}

// localAddr reports whether a is a loopback, private or link-local IP address. Carrier-grade NAT space (100.64/10) is
// not: other customers of the carrier may be in it.
func localAddr(a multiaddr.Multiaddr) bool {
	ip, err := manet.ToIP(a)
	if err != nil {
		return false
	}
	addr, ok := netip.AddrFromSlice(ip)
	if !ok {
		return false
	}
	addr = addr.Unmap()
	return addr.IsLoopback() || addr.IsPrivate() || addr.IsLinkLocalUnicast()
}
