// SPDX-License-Identifier: MIT

package p2p

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"

	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/multiformats/go-multiaddr"
	"go.uber.org/zap"
)

// DefaultListen is every interface with random ports: QUIC, and TCP for networks that block UDP.
func DefaultListen() []multiaddr.Multiaddr {
	return append(bothTransports(netip.IPv4Unspecified(), 0), bothTransports(netip.IPv6Unspecified(), 0)...)
}

// ParseListen reads a --listen value: a multiaddr as it stands, or PORT, :PORT or IP:PORT, which mean QUIC and TCP on
// the same port number.
func ParseListen(s string) ([]multiaddr.Multiaddr, error) {
	if strings.HasPrefix(s, "/") {
		a, err := multiaddr.NewMultiaddr(s)
		if err != nil {
			return nil, fmt.Errorf("listen address %q: %w", s, err)
		}
		return []multiaddr.Multiaddr{a}, nil
	}
	host, port := "", s
	if strings.Contains(s, ":") {
		var err error
		if host, port, err = net.SplitHostPort(s); err != nil {
			return nil, fmt.Errorf("listen address %q: want PORT, IP:PORT or a multiaddr", s)
		}
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("listen address %q: want PORT, IP:PORT or a multiaddr", s)
	}
	if host == "" {
		return append(bothTransports(netip.IPv4Unspecified(), uint16(n)), bothTransports(netip.IPv6Unspecified(), uint16(n))...), nil
	}
	ip, err := netip.ParseAddr(host)
	if err != nil || ip.Zone() != "" {
		return nil, fmt.Errorf("listen address %q: %q is not an IP address", s, host)
	}
	return bothTransports(ip.Unmap(), uint16(n)), nil
}

func bothTransports(ip netip.Addr, port uint16) []multiaddr.Multiaddr {
	family := "ip4"
	if ip.Is6() {
		family = "ip6"
	}
	return []multiaddr.Multiaddr{
		multiaddr.StringCast(fmt.Sprintf("/%s/%s/udp/%d/quic-v1", family, ip, port)),
		multiaddr.StringCast(fmt.Sprintf("/%s/%s/tcp/%d", family, ip, port)),
	}
}

// listen opens the configured addresses, all of them, or of the default ones as many as this machine has.
func (h *Host) listen(addrs []multiaddr.Multiaddr) error {
	explicit := len(addrs) > 0
	if !explicit {
		addrs = DefaultListen()
	}
	opened := 0
	var errs []error
	for _, a := range addrs {
		err := h.swarm.AddListenAddr(a)
		switch {
		case err == nil:
			opened++
		case errors.Is(err, syscall.EADDRINUSE):
			return fmt.Errorf("listen on %s: the port is taken: stop the other process or choose another port with --listen: %w", a, err)
		case explicit && !missingIPv6(a, err):
			return fmt.Errorf("listen on %s: %w", a, err)
		default:
			h.cfg.Log.Debug("listen address not available", zap.Stringer("address", a), zap.Error(err))
			errs = append(errs, fmt.Errorf("listen on %s: %w", a, err))
		}
	}
	if opened == 0 && errors.Is(errors.Join(errs...), swarm.ErrNoTransport) {
		return fmt.Errorf("no transport for any listen address: use /udp/PORT/quic-v1 or /tcp/PORT: %w", errors.Join(errs...))
	}
	if opened == 0 {
		return errors.Join(errs...)
	}
	return nil
}

// missingIPv6 reports whether a is the IPv6 wildcard on a machine without IPv6: a bare --listen PORT asks for both
// families and gets what there is.
func missingIPv6(a multiaddr.Multiaddr, err error) bool {
	ip, _ := a.ValueForProtocol(multiaddr.P_IP6)
	return ip == "::" && (errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EADDRNOTAVAIL))
}
