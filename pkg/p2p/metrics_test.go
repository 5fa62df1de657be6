// SPDX-License-Identifier: MIT

package p2p_test

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/shardnode/shardnode/internal/testnet"
	"github.com/shardnode/shardnode/pkg/p2p"
)

// exposition is what Prometheus reads of a registry.
type exposition string

func read(r *prometheus.Registry) exposition {
	page := httptest.NewRecorder()
	promhttp.HandlerFor(r, promhttp.HandlerOpts{}).ServeHTTP(page, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
	return exposition(page.Body.String())
}

// value returns a series' value, -1 if there is none.
func (e exposition) value(t *testing.T, series string) float64 {
	t.Helper()
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(series) + ` (\S+)$`).FindStringSubmatch(string(e))
	if m == nil {
		return -1
	}
	v, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// What QUIC knows of the ways to peers is told, by peer for nodes only; and what was sent stays counted when a connection has ended.
func TestSimNetworkMetrics(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		net := testnet.NewSim(t, oneWay, bandwidth)
		a, b, c := net.Host(p2p.Config{SwarmKey: keyA}), net.Host(p2p.Config{SwarmKey: keyA}), net.Host(p2p.Config{SwarmKey: keyA})
		net.Start()
		defer net.Close()
		registry := prometheus.NewRegistry()
		registry.MustRegister(a.Collector("x", func() func(peer.ID) bool { return func(p peer.ID) bool { return p == b.ID() } }))
		for _, to := range []*p2p.Host{b, c} {
			if err := a.MeasureLink(t.Context(), to.AddrInfo()); err != nil {
				t.Fatal(err)
			}
		}
		before := read(registry)
		rtt := before.value(t, `x_network_rtt_seconds{peer="`+b.ID().String()+`"}`)
		if want := (2 * oneWay).Seconds(); rtt < want || rtt > 1.5*want {
			t.Errorf("round trip of %f s, want %f", rtt, want)
		}
		if got := a.RoundTrip(c.ID()); got < 2*oneWay || got > 3*oneWay {
			t.Errorf("round trip of %s, want %s", got, 2*oneWay)
		}
		if got := a.RoundTrip(peer.ID("nobody")); got != 0 {
			t.Errorf("round trip of %s to nobody", got)
		}
		if strings.Contains(string(before), c.ID().String()) {
			t.Error("a peer that is no node has series of its own")
		}
		// Each measurement sends a burst of a MiB at least.
		sent := before.value(t, `x_network_bytes_total{direction="sent"}`)
		if sent < 2<<20 || before.value(t, `x_network_packets_total{direction="sent"}`) < 2<<10 || before.value(t, `x_network_connections{transport="quic"}`) < 2 {
			t.Errorf("two bursts of a MiB are not seen:\n%s", before)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(11 * time.Minute) // a bandwidth is measured again after ten
		if err := a.MeasureLink(t.Context(), c.AddrInfo()); err != nil {
			t.Fatal(err)
		}
		after := read(registry)
		if got := after.value(t, `x_network_bytes_total{direction="sent"}`); got < sent+1<<20 {
			t.Errorf("%.0f bytes sent after a connection's end and another MiB, %.0f before", got, sent)
		}
		if after.value(t, `x_network_rtt_seconds{peer="`+b.ID().String()+`"}`) != -1 || after.value(t, `x_network_peers_lost_total`) != 0 {
			t.Errorf("after a peer left in good order:\n%s", after)
		}
	})
}

// Peers say how they see a connection from here: on one network, as it is.
func TestSimObserve(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		net := testnet.NewSim(t, oneWay, bandwidth)
		a, b, c := net.Host(p2p.Config{SwarmKey: keyA}), net.Host(p2p.Config{SwarmKey: keyA}), net.Host(p2p.Config{SwarmKey: keyA})
		net.Start()
		defer net.Close()
		seen, err := a.Observe(t.Context(), []peer.AddrInfo{b.AddrInfo(), c.AddrInfo()})
		if err != nil || len(seen) != 2 {
			t.Fatalf("%d of 2 peers say how they see it: %v", len(seen), err)
		}
		for _, o := range seen {
			if !o.Seen.Equal(a.Addrs()[0]) {
				t.Errorf("%s sees %s, this is %s", o.Peer, o.Seen, a.Addrs()[0])
			}
		}
	})
}
