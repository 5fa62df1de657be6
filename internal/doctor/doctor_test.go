// SPDX-License-Identifier: MIT

package doctor

import (
	"net"
	"os"
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"github.com/shardnode/shardnode/internal/node"
	"github.com/shardnode/shardnode/models"
	"github.com/shardnode/shardnode/pkg/gguf"
	"github.com/shardnode/shardnode/pkg/p2p"
	"github.com/shardnode/shardnode/pkg/protocol"
)

func observed(local string, seen ...string) []p2p.Observed {
	var all []p2p.Observed
	for i, s := range seen {
		all = append(all, p2p.Observed{Peer: peer.ID(rune('a' + i)), Local: multiaddr.StringCast(local), Seen: multiaddr.StringCast(s)})
	}
	return all
}

// The kind of address translation follows from what nodes see.
func TestNAT(t *testing.T) {
	t.Parallel()
	own := []net.Addr{&net.IPNet{IP: net.IPv4(192, 168, 1, 7)}, &net.IPNet{IP: net.IPv4(127, 0, 0, 1)}}
	const local = "/ip4/0.0.0.0/udp/4001/quic-v1"
	for _, c := range []struct {
		name  string
		seen  []string
		state State
		kind  any
		kept  any
	}{
		{"nobody", nil, Skip, nil, nil},
		{"tcp alone", []string{"/ip4/192.168.1.7/tcp/5"}, Skip, nil, nil},
		{"lan", []string{"/ip4/192.168.1.7/udp/4001/quic-v1", "/ip4/127.0.0.1/udp/4001/quic-v1"}, OK, natNone, nil},
		{"one outside", []string{"/ip4/192.168.1.7/udp/4001/quic-v1", "/ip4/203.0.113.5/udp/4001/quic-v1"}, Warn, natUnknown, true},
		{"mapped", []string{"/ip4/203.0.113.5/udp/999/quic-v1", "/ip4/203.0.113.5/udp/999/quic-v1"}, Warn, natMapped, false},
		{"mapped, port kept", []string{"/ip4/203.0.113.5/udp/4001/quic-v1", "/ip4/203.0.113.5/udp/4001/quic-v1"}, Warn, natMapped, true},
		{"symmetric", []string{"/ip4/203.0.113.5/udp/999/quic-v1", "/ip4/203.0.113.5/udp/1000/quic-v1"}, Warn, natSymmetric, false},
	} {
		got := judgeNAT(observed(local, c.seen...), own)
		if got.State != c.state || got.Values["kind"] != c.kind || got.Values["ports_kept"] != c.kept || (got.State == Warn) != (got.Advice != "") {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}

func TestBuffers(t *testing.T) {
	t.Parallel()
	small := Warn
	if os.Geteuid() == 0 {
		small = OK // the limits are not root's
	}
	for _, c := range []struct {
		receive, send int
		known         bool
		want          State
		advice        bool
	}{
		{8 << 20, 8 << 20, true, OK, false},
		{200 << 10, 8 << 20, true, small, true},
		{8 << 20, 200 << 10, true, small, true},
		{0, 0, false, Skip, false},
	} {
		got := checkBuffers(c.receive, c.send, 7<<19, c.known)
		if got.State != c.want || strings.Contains(got.Advice, "sysctl -w net.core.rmem_max=") != c.advice {
			t.Errorf("%+v: %+v", c, got)
		}
	}
}

func TestProcessor(t *testing.T) {
	t.Parallel()
	if c := checkProcessor("generic", 2); c.State != Warn || c.Advice == "" {
		t.Errorf("%+v", c)
	}
	if c := checkProcessor("avx512", 2); c.State != OK {
		t.Errorf("%+v", c)
	}
}

// A range that does not fit is a failure where it was asked for; without one a node takes what fits.
func TestMemory(t *testing.T) {
	t.Parallel()
	f, err := gguf.Parse(models.Demo())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, c := range []struct {
		layers protocol.LayerRange
		memory int64
		want   State
	}{
		{protocol.LayerRange{From: 0, To: 8}, 8 << 30, OK},
		{protocol.LayerRange{From: 0, To: 8}, 100 << 20, Fail},
		{protocol.LayerRange{}, 100 << 20, Warn},
		{protocol.LayerRange{}, 8 << 30, OK},
		{protocol.LayerRange{From: 30, To: 40}, 8 << 30, Fail},
	} {
		got := checkMemory(&node.Config{File: f, ModelName: "demo", Layers: c.layers, Memory: c.memory})
		if got.State != c.want {
			t.Errorf("%+v: %+v", c, got)
		}
	}
}

// A report is good unless a check failed.
func TestReport(t *testing.T) {
	t.Parallel()
	r := &Report{OK: true}
	for _, s := range []State{OK, Warn, Skip} {
		r.add(Check{State: s})
	}
	if !r.OK {
		t.Error("a warning makes a machine unfit")
	}
	r.add(Check{State: Fail})
	r.add(Check{State: OK})
	if r.OK {
		t.Error("a failure does not")
	}
}
