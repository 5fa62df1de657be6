// SPDX-License-Identifier: MIT

package discovery

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/zeroconf/v2"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"go.uber.org/zap"
)

// Multicast DNS in libp2p's form (specs/discovery/mdns.md): a service instance whose TXT records are dnsaddr=MULTIADDR.
// libp2p's own service is not used: it cannot browse without a listen address, which a coordinator has not, nor on a
// machine without IPv6.
const (
	mdnsDomain = "local"
	mdnsTXT    = "dnsaddr="
	mdnsPort   = 4001 // the SRV record must hold one; nobody reads it
)

// findMDNS offers the nodes of the LAN and, on a node, answers. Where multicast does not work the other sources have to
// do.
func (f *Finder) findMDNS(ctx context.Context) error {
	service := mdnsService(f.cfg.Swarm)
	if f.cfg.ServeDHT {
		server, err := f.registerMDNS(service)
		if err != nil {
			f.cfg.Log.Warn("this node is not found by multicast; be quiet with --no-mdns", zap.Error(err))
		} else {
			defer server.Shutdown()
		}
	}
	err := f.browseMDNS(ctx, service)
	if err != nil && ctx.Err() == nil {
		err = f.browseMDNS(ctx, service, zeroconf.SelectIPTraffic(zeroconf.IPv4))
	}
	if err != nil && ctx.Err() == nil {
		f.cfg.Log.Warn("nodes are not found by multicast; name one with --bootstrap, or be quiet with --no-mdns", zap.Error(err))
	}
	<-ctx.Done()
	return nil
}

// registerMDNS begins to answer for this node. The instance's name is random: browsers do not look again at one they
// have seen, and a restarted node may have moved.
func (f *Finder) registerMDNS(service string) (*zeroconf.Server, error) {
	addrs, err := f.cfg.Host.Network().InterfaceListenAddresses()
	if err != nil {
		return nil, err
	}
	full, err := peer.AddrInfoToP2pAddrs(&peer.AddrInfo{ID: f.cfg.Host.ID(), Addrs: dialable(addrs)})
	if err != nil {
		return nil, err
	}
	var txts, ips []string
	for _, a := range full[:min(len(full), maxAddrs)] {
		txts = append(txts, mdnsTXT+a.String())
		if ip, err := manet.ToIP(a); err == nil && len(ips) == 0 {
			ips = append(ips, ip.String())
		}
	}
	if len(ips) == 0 {
		return nil, errors.New("no IP address to answer with")
	}
	name := rand.Text()
	return zeroconf.RegisterProxy(name, service, mdnsDomain, mdnsPort, name, ips, txts, nil)
}

// browseMDNS offers what it hears until ctx ends.
func (f *Finder) browseMDNS(ctx context.Context, service string, opts ...zeroconf.ClientOption) error {
	entries := make(chan *zeroconf.ServiceEntry, 64)
	ended := make(chan error, 1)
	go func() { ended <- zeroconf.Browse(ctx, service, mdnsDomain, entries, opts...) }()
	for {
		select {
		case e, ok := <-entries:
			if !ok {
				return <-ended
			}
			for _, info := range parseTXT(e.Text) {
				f.offer(ctx, info, false)
			}
		case err := <-ended:
			return err
		}
	}
}

// parseTXT returns the peers a service instance's TXT records name.
func parseTXT(txts []string) []peer.AddrInfo {
	var addrs []multiaddr.Multiaddr
	for _, txt := range txts[:min(len(txts), 4*maxAddrs)] {
		s, ok := strings.CutPrefix(txt, mdnsTXT)
		if !ok {
			continue
		}
		a, err := multiaddr.NewMultiaddr(s)
		if err != nil {
			continue
		}
		if _, err := peer.AddrInfoFromP2pAddr(a); err == nil {
			addrs = append(addrs, a)
		}
	}
	infos, err := peer.AddrInfosFromP2pAddrs(dialable(addrs)...)
	if err != nil {
		return nil
	}
	return infos
}
