// SPDX-License-Identifier: MIT

package discovery

import (
	"strings"
	"testing"

	"github.com/multiformats/go-multiaddr"
	madns "github.com/multiformats/go-multiaddr-dns"
)

func TestParseBootstrap(t *testing.T) {
	t.Parallel()
	const id = "12D3KooWBmNuarkYGLuS2VKa2KaqKf5LGod2cdHTA9X4EGP2qPxt"
	for s, want := range map[string]bool{
		"/ip4/192.0.2.7/udp/4001/quic-v1/p2p/" + id:         true,
		"/dns4/node.example.org/udp/4001/quic-v1/p2p/" + id: true,
		"/dnsaddr/swarm.example.org":                        true,
		"/dnsaddr/swarm.example.org/p2p/" + id:              true,
		"/ip4/192.0.2.7/udp/4001/quic-v1":                   false,
		"192.0.2.7:4001":                                    false,
		"/ip4/192.0.2.7/udp/4001/quic-v1/p2p/nobody":        false,
		"": false,
	} {
		_, err := parseBootstrap([]string{s})
		if (err == nil) != want {
			t.Errorf("%q: %v", s, err)
		}
		if err != nil && !strings.Contains(err.Error(), "such as /ip4/") {
			t.Errorf("%q: the error shows no example: %v", s, err)
		}
	}
	if _, err := parseBootstrap([]string{"one", "two"}); err == nil || !strings.Contains(err.Error(), `"one"`) || !strings.Contains(err.Error(), `"two"`) {
		t.Errorf("not all mistakes are named: %v", err)
	}
}

func TestBootstrapNameIsResolved(t *testing.T) {
	t.Parallel()
	const id = "12D3KooWBmNuarkYGLuS2VKa2KaqKf5LGod2cdHTA9X4EGP2qPxt"
	resolver, err := madns.NewResolver(madns.WithDefaultResolver(&madns.MockResolver{TXT: map[string][]string{
		"_dnsaddr.swarm.example.org": {
			"dnsaddr=/ip4/192.0.2.1/udp/4001/quic-v1/p2p/" + id, "dnsaddr=/ip4/192.0.2.1/tcp/4001/p2p/" + id, "dnsaddr=/ip4/192.0.2.2/tcp/4001", "v=spf1",
		},
		"_dnsaddr.empty.example.org": {},
	}}))
	if err != nil {
		t.Fatal(err)
	}
	infos, err := resolveNames(t.Context(), resolver, []multiaddr.Multiaddr{
		multiaddr.StringCast("/dnsaddr/swarm.example.org"), multiaddr.StringCast("/dnsaddr/empty.example.org"),
	})
	if len(infos) != 1 || infos[0].ID.String() != id || len(infos[0].Addrs) != 2 {
		t.Errorf("got %v", infos)
	}
	if err == nil || !strings.Contains(err.Error(), "empty.example.org") {
		t.Errorf("the name without peers is not named: %v", err)
	}
}
