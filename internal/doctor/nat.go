// SPDX-License-Identifier: MIT

package doctor

import (
	"fmt"
	"net"
	"strconv"

	"github.com/multiformats/go-multiaddr"

	"github.com/shardnode/shardnode/pkg/p2p"
)

// The kinds of address translation, as far as they matter: whether others can reach a port here by the address that somebody else sees.
const (
	natNone      = "none"                 // peers see an address of this machine
	natMapped    = "endpoint-independent" // all peers see the same foreign address and port
	natSymmetric = "endpoint-dependent"   // each peer sees another one
	natUnknown   = "unknown"              // a single peer saw a foreign address
)

// judgeNAT tells the kind of address translation from what peers see. UDP only: over TCP each connection has a port of its own anyway.
func judgeNAT(observed []p2p.Observed, own []net.Addr) Check {
	mine := map[string]bool{}
	for _, a := range own {
		if n, ok := a.(*net.IPNet); ok {
			mine[n.IP.String()] = true
		}
	}
	foreign := map[string]bool{}
	peers, outside, ports := 0, 0, true
	values := []map[string]any{}
	for _, o := range observed {
		ip, port := ipOf(o.Seen), portOf(o.Seen)
		if ip == nil || port == 0 {
			continue
		}
		peers++
		values = append(values, map[string]any{"peer": o.Peer.String(), "seen": o.Seen.String()})
		if mine[ip.String()] {
			continue
		}
		outside++
		foreign[net.JoinHostPort(ip.String(), strconv.Itoa(port))] = true
		ports = ports && port == portOf(o.Local)
	}
	c := Check{Name: "nat", State: OK, Values: map[string]any{"observations": values}}
	kind := natNone
	switch {
	case peers == 0:
		c.State, c.Found = Skip, "no node says how it sees connections from here"
		return c
	case outside == 0:
		c.Found = "none: nodes see addresses of this machine"
	case len(foreign) > 1:
		kind, c.State = natSymmetric, Warn
		c.Found = "endpoint-dependent: each node sees another address or port"
		c.Advice = "others reach this machine by a forwarded port or a VPN only: forward a UDP port, then --listen PORT --announce MULTIADDR"
	case outside == 1:
		kind, c.State = natUnknown, Warn
		c.Found = "there is one: a node sees an address that is not this machine's; of which kind takes two nodes to tell"
		c.Advice = "forward a UDP port at the router, then --listen PORT --announce MULTIADDR"
	default:
		kind, c.State = natMapped, Warn
		c.Found = "endpoint-independent: all nodes see the same address and port"
		c.Advice = "forward a UDP port at the router, then --listen PORT --announce MULTIADDR"
	}
	if outside > 0 {
		c.Found += fmt.Sprintf(" (ports kept: %t)", ports)
		c.Values["ports_kept"] = ports
	}
	c.Values["kind"] = kind
	return c
}

// ipOf is the IP address in a; nil if there is none.
func ipOf(a multiaddr.Multiaddr) net.IP {
	for _, code := range []int{multiaddr.P_IP4, multiaddr.P_IP6} {
		if s, err := a.ValueForProtocol(code); err == nil {
			return net.ParseIP(s)
		}
	}
	return nil
}

// portOf is the UDP port in a; 0 if there is none.
func portOf(a multiaddr.Multiaddr) int {
	s, err := a.ValueForProtocol(multiaddr.P_UDP)
	if err != nil {
		return 0
	}
	port, err := strconv.Atoi(s)
	if err != nil {
		return 0
	}
	return port
}
