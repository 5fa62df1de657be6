// SPDX-License-Identifier: MIT

package p2p

import (
	"testing"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/multiformats/go-multiaddr"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

type addrs struct{ local, remote multiaddr.Multiaddr }

func (a addrs) LocalMultiaddr() multiaddr.Multiaddr  { return a.local }
func (a addrs) RemoteMultiaddr() multiaddr.Multiaddr { return a.remote }

func TestLocalGater(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]bool{
		"/ip4/127.0.0.1/udp/1/quic-v1":      true,
		"/ip4/127.9.9.9/tcp/1":              true,
		"/ip4/10.1.2.3/udp/1/quic-v1":       true,
		"/ip4/172.16.0.1/udp/1/quic-v1":     true,
		"/ip4/172.31.255.255/udp/1/quic-v1": true,
		"/ip4/192.168.1.1/udp/1/quic-v1":    true,
		"/ip4/169.254.1.1/udp/1/quic-v1":    true,
		"/ip6/::1/udp/1/quic-v1":            true,
		"/ip6/fd00::1/udp/1/quic-v1":        true,
		"/ip6/fe80::1/udp/1/quic-v1":        true,
		"/ip6zone/eth0/ip6/fe80::1/udp/1":   true,
		"/ip6/::ffff:192.168.0.1/tcp/1":     true,
		"/ip4/8.8.8.8/udp/1/quic-v1":        false,
		"/ip4/172.32.0.1/udp/1/quic-v1":     false,
		"/ip4/100.64.0.1/udp/1/quic-v1":     false, // carrier-grade NAT: strangers live there
		"/ip4/0.0.0.0/udp/1/quic-v1":        false,
		"/ip6/2001:4860:4860::8888/udp/1":   false,
		"/ip6/::ffff:8.8.8.8/tcp/1":         false,
		"/dns4/localhost/udp/1/quic-v1":     false, // resolved before libp2p dials it
		"/ip4/8.8.8.8/tcp/1/p2p-circuit":    false,
		"/ip4/192.168.0.1/udp/1/quic-v1/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp": true,
	} {
		core, logs := observer.New(zap.InfoLevel)
		g := &localGater{log: zap.New(core)}
		a := multiaddr.StringCast(addr)
		dial, accept := g.InterceptAddrDial("", a), g.InterceptAccept(addrs{remote: a})
		secured := g.InterceptSecured(network.DirInbound, "", addrs{remote: a})
		if dial != want || accept != want || secured != want {
			t.Errorf("%s: dial %v, accept %v, secured %v, want %v", addr, dial, accept, secured, want)
		}
		if n := logs.Len(); !want && n != 1 || want && n != 0 {
			t.Errorf("%s: %d log lines after two decisions", addr, n)
		}
	}
}

// Which hosts get the gater: those with neither a key nor Open.
func TestConfigLocal(t *testing.T) {
	t.Parallel()
	key := make([]byte, MinSwarmKey)
	for _, tt := range []struct {
		cfg  Config
		want bool
	}{
		{Config{}, true}, {Config{Open: true}, false}, {Config{SwarmKey: key}, false}, {Config{SwarmKey: key, Open: true}, false},
	} {
		if got := tt.cfg.local(); got != tt.want {
			t.Errorf("key %v, open %v: local %v", tt.cfg.SwarmKey != nil, tt.cfg.Open, got)
		}
	}
}
