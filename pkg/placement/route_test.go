// SPDX-License-Identifier: MIT

package placement

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// TestRoute walks testdata: each file is one behaviour. Regenerate with -rewrite.
//
//	route layers=N [exclude=PEER]
//	PEER FIRST-LAST [step=5ms] [rtt=1ms] [sessions=1/4] [draining] [context=N] [standing=doubtful|busy|cooldown|banned]
func TestRoute(t *testing.T) {
	t.Parallel()
	datadriven.Walk(t, "testdata/route", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			var layers int
			var exclude string
			d.ScanArgs(t, "layers", &layers)
			d.MaybeScanArgs(t, "exclude", &exclude)
			var cands []Candidate
			for line := range strings.Lines(d.Input) {
				cands = append(cands, parseCandidate(t, line))
			}
			hops, err := Route(cands, layers, Options{Exclude: map[string]bool{exclude: exclude != ""}})
			if err != nil {
				return err.Error() + "\n"
			}
			return format(hops)
		})
	})
}

func parseCandidate(t *testing.T, line string) Candidate {
	t.Helper()
	fields := strings.Fields(line)
	c := Candidate{Peer: fields[0]}
	var err error
	if c.Layers, err = protocol.ParseLayerRange(fields[1]); err != nil {
		t.Fatal(err)
	}
	for _, f := range fields[2:] {
		key, value, _ := strings.Cut(f, "=")
		switch key {
		case "step":
			c.StepCost, err = time.ParseDuration(value)
		case "rtt":
			c.RTT, err = time.ParseDuration(value)
		case "sessions":
			_, err = fmt.Sscanf(value, "%d/%d", &c.Sessions, &c.MaxSessions)
		case "draining":
			c.Draining = true
		case "context":
			c.Context, err = strconv.Atoi(value)
		case "standing":
			c.Standing = map[string]Standing{"doubtful": StandingDoubtful, "busy": StandingBusy, "cooldown": StandingCooldown, "banned": StandingBanned}[value]
		default:
			t.Fatalf("unknown field %q", f)
		}
		if err != nil {
			t.Fatalf("%s: %v", f, err)
		}
	}
	return c
}

func format(hops []protocol.Hop) string {
	var b strings.Builder
	for _, h := range hops {
		fmt.Fprintf(&b, "%s %s\n", h.Layers, h.Peer)
	}
	return b.String()
}

func TestRouteRefusesAbsurdLayerCounts(t *testing.T) {
	t.Parallel()
	for _, n := range []int{-1, 0, protocol.MaxLayers + 1} {
		if _, err := Route(nil, n, Options{}); err == nil {
			t.Errorf("%d layers were accepted", n)
		}
	}
}

func TestNoRouteErrorIsTyped(t *testing.T) {
	t.Parallel()
	cands := []Candidate{{Peer: "a", Layers: protocol.LayerRange{From: 0, To: 8}}, {Peer: "b", Layers: protocol.LayerRange{From: 16, To: 24}, Draining: true}}
	_, err := Route(cands, 32, Options{})
	var no *NoRouteError
	if !errors.As(err, &no) {
		t.Fatalf("got %v", err)
	}
	if len(no.Missing) != 1 || no.Missing[0] != (protocol.LayerRange{From: 8, To: 32}) || len(no.Have) != 2 || no.Have[1].Reason != "draining" {
		t.Errorf("got %+v", no)
	}
	if m := Missing(cands, 32); len(m) != 2 || m[0] != (protocol.LayerRange{From: 8, To: 16}) || m[1] != (protocol.LayerRange{From: 24, To: 32}) {
		t.Errorf("a draining node still serves: missing %v", m)
	}
}

// TestNoRouteBusy: waiting helps only where nodes that have no room serve all that is missing.
func TestNoRouteBusy(t *testing.T) {
	t.Parallel()
	first, last := protocol.LayerRange{From: 0, To: 8}, protocol.LayerRange{From: 8, To: 16}
	for _, c := range []struct {
		name  string
		cands []Candidate
		want  bool
	}{
		{"nobody", nil, false},
		{"full", []Candidate{{Peer: "a", Layers: first}, {Peer: "b", Layers: last, Sessions: 4, MaxSessions: 4}}, true},
		{"busy", []Candidate{{Peer: "a", Layers: first, Standing: StandingBusy}, {Peer: "b", Layers: last, Standing: StandingBusy}}, true},
		{"draining", []Candidate{{Peer: "a", Layers: first}, {Peer: "b", Layers: last, Draining: true}}, false},
		{"one full, one missing", []Candidate{{Peer: "a", Layers: first, Sessions: 4, MaxSessions: 4}}, false},
		{"a part is missing", []Candidate{{Peer: "a", Layers: first}, {Peer: "b", Layers: protocol.LayerRange{From: 9, To: 16}, Standing: StandingBusy}}, false},
	} {
		_, err := Route(c.cands, 16, Options{})
		var no *NoRouteError
		if !errors.As(err, &no) || no.Busy() != c.want {
			t.Errorf("%s: %v, busy %v, want %v", c.name, err, no != nil && no.Busy(), c.want)
		}
	}
}

func TestRouteCopiesAddresses(t *testing.T) {
	t.Parallel()
	addrs := []string{"/ip4/10.0.0.1/udp/4001/quic-v1"}
	hops, err := Route([]Candidate{{Peer: "a", Addrs: addrs, Layers: protocol.LayerRange{From: 0, To: 4}}}, 4, Options{})
	if err != nil {
		t.Fatal(err)
	}
	addrs[0] = "changed"
	if hops[0].Addrs[0] == "changed" {
		t.Error("the hop's addresses alias the candidate's")
	}
}

// TestManyNodesWouldBeEnteredTwice is beyond the exact search: one slow wide node between every pair of fast narrow
// ones, many times over. The route must still tile the layers, each node once.
func TestManyNodesWouldBeEnteredTwice(t *testing.T) {
	t.Parallel()
	const nLayers = 240
	var cands []Candidate
	for i := range nLayers / 2 {
		cands = append(cands, Candidate{Peer: fmt.Sprintf("fast%03d", i), Layers: protocol.LayerRange{From: 2 * i, To: 2*i + 1}, StepCost: time.Microsecond})
	}
	for i := range 40 {
		r := protocol.LayerRange{From: 6 * i, To: 6*i + 6}
		cands = append(cands, Candidate{Peer: fmt.Sprintf("slow%03d", i), Layers: r, StepCost: time.Second})
	}
	hops, err := Route(cands, nLayers, Options{})
	if err != nil {
		t.Fatal(err)
	}
	checkTiling(t, cands, nLayers, hops)
}

// checkTiling fails unless hops tile [0, nLayers) with parts of what their nodes serve, each node once.
func checkTiling(tb testingTB, cands []Candidate, nLayers int, hops []protocol.Hop) {
	tb.Helper()
	serves := map[string]protocol.LayerRange{}
	for _, c := range cands {
		serves[c.Peer] = c.Layers
	}
	at := 0
	seen := map[string]bool{}
	for _, h := range hops {
		if h.Layers.From != at || h.Layers.Len() < 1 || !serves[h.Peer].Contains(h.Layers) || seen[h.Peer] {
			tb.Fatalf("hop %s at %s after layer %d does not fit:\n%s", h.Layers, h.Peer, at, format(hops))
		}
		at, seen[h.Peer] = h.Layers.To, true
	}
	if at != nLayers {
		tb.Fatalf("the route ends at layer %d of %d:\n%s", at, nLayers, format(hops))
	}
}

// testingTB is what testing.T and rapid.T share.
type testingTB interface {
	Helper()
	Fatalf(format string, args ...any)
}
