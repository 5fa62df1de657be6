// SPDX-License-Identifier: MIT

package p2p_test

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/multiformats/go-multiaddr"

	"github.com/shardnode/shardnode/internal/testnet"
	"github.com/shardnode/shardnode/pkg/p2p"
)

func TestParseListen(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"4001":                           "/ip4/0.0.0.0/udp/4001/quic-v1 /ip4/0.0.0.0/tcp/4001 /ip6/::/udp/4001/quic-v1 /ip6/::/tcp/4001",
		":4001":                          "/ip4/0.0.0.0/udp/4001/quic-v1 /ip4/0.0.0.0/tcp/4001 /ip6/::/udp/4001/quic-v1 /ip6/::/tcp/4001",
		"192.168.1.2:7":                  "/ip4/192.168.1.2/udp/7/quic-v1 /ip4/192.168.1.2/tcp/7",
		"[::1]:7":                        "/ip6/::1/udp/7/quic-v1 /ip6/::1/tcp/7",
		"/ip4/127.0.0.1/udp/9/quic-v1":   "/ip4/127.0.0.1/udp/9/quic-v1",
		"":                               "error",
		"65536":                          "error",
		"localhost:1":                    "error",
		"1.2.3.4":                        "error",
		"[fe80::1%eth0]:7":               "error",
		"/ip4/127.0.0.1/udp/99999999999": "error",
		"-1":                             "error",
	} {
		got := "error"
		if addrs, err := p2p.ParseListen(in); err == nil {
			var s []string
			for _, a := range addrs {
				s = append(s, a.String())
			}
			got = strings.Join(s, " ")
		}
		if got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

func TestListenTaken(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{"/udp/%d/quic-v1", "/tcp/%d"} {
		first := testnet.Loopback(t, p2p.Config{Listen: []multiaddr.Multiaddr{multiaddr.StringCast("/ip4/127.0.0.1" + fmt.Sprintf(transport, 0))}})
		_, err := p2p.NewHost(p2p.Config{Listen: first.Addrs()})
		if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "--listen") {
			t.Errorf("second host on %s: %v", first.Addrs(), err)
		}
	}
}

func TestDefaultListenHasBothTransports(t *testing.T) {
	t.Parallel()
	h, err := p2p.NewHost(p2p.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	var quic, tcp bool
	for _, a := range h.Addrs() {
		quic = quic || strings.HasSuffix(a.String(), "/quic-v1")
		tcp = tcp || strings.Contains(a.String(), "/tcp/")
	}
	if !quic || !tcp {
		t.Errorf("addresses %s, want QUIC and TCP", h.Addrs())
	}
}

func TestTCPFallback(t *testing.T) {
	t.Parallel()
	node := testnet.Loopback(t, p2p.Config{Listen: []multiaddr.Multiaddr{multiaddr.StringCast("/ip4/127.0.0.1/tcp/0")}})
	node.Serve(newAdder())
	c := testnet.Loopback(t, p2p.Config{DialOnly: true})
	if _, _, err := c.Status(t.Context(), node.AddrInfo()); err != nil {
		t.Fatal(err)
	}
}

func TestConfigRefused(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]p2p.Config{
		"short key":       {SwarmKey: make([]byte, p2p.MinSwarmKey-1)},
		"empty key":       {SwarmKey: []byte{}},
		"long swarm":      {Swarm: strings.Repeat("x", 100)},
		"dial and listen": {DialOnly: true, Listen: p2p.DefaultListen()},
	} {
		if h, err := p2p.NewHost(cfg); err == nil {
			t.Errorf("%s: accepted", name)
			_ = h.Close()
		}
	}
}
