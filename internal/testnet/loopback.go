// SPDX-License-Identifier: MIT

package testnet

import (
	"testing"

	"github.com/multiformats/go-multiaddr"

	"github.com/shardnode/shardnode/pkg/p2p"
)

// Loopback starts a host that listens for QUIC on 127.0.0.1 and is closed with the test.
func Loopback(tb testing.TB, cfg p2p.Config) *p2p.Host {
	tb.Helper()
	if cfg.Listen == nil && !cfg.DialOnly {
		cfg.Listen = []multiaddr.Multiaddr{multiaddr.StringCast("/ip4/127.0.0.1/udp/0/quic-v1")}
	}
	h, err := p2p.NewHost(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = h.Close() })
	return h
}

// LoopbackN starts n hosts alike.
func LoopbackN(tb testing.TB, n int, cfg p2p.Config) []*p2p.Host {
	tb.Helper()
	hosts := make([]*p2p.Host, n)
	for i := range hosts {
		hosts[i] = Loopback(tb, cfg)
	}
	return hosts
}
