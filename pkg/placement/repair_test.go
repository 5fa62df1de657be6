// SPDX-License-Identifier: MIT

package placement

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"pgregory.net/rapid"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// TestRepair walks testdata/repair. Candidates are written as for TestRoute, also with context=N and standing=NAME.
//
//	repair route=(PEER:LAYERS,…) lost=(N,…) [positions=N]
func TestRepair(t *testing.T) {
	t.Parallel()
	datadriven.Walk(t, "testdata/repair", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			var route []protocol.Hop
			var lost []int
			var opt Options
			d.MaybeScanArgs(t, "positions", &opt.Positions)
			for _, a := range d.CmdArgs {
				for _, v := range a.Vals {
					switch a.Key {
					case "route":
						peer, layers, _ := strings.Cut(v, ":")
						r, err := protocol.ParseLayerRange(layers)
						if err != nil {
							d.Fatalf(t, "%v", err)
						}
						route = append(route, protocol.Hop{Peer: peer, Layers: r})
					case "lost":
						n, err := strconv.Atoi(v)
						if err != nil {
							d.Fatalf(t, "%v", err)
						}
						lost = append(lost, n)
					}
				}
			}
			var cands []Candidate
			for line := range strings.Lines(d.Input) {
				cands = append(cands, parseCandidate(t, line))
			}
			hops, err := Repair(cands, route, lost, opt)
			if err != nil {
				return err.Error() + "\n"
			}
			return format(hops)
		})
	})
}

// TestRepairKeepsWhatStays compares with brute force: hops that are not lost stay whenever the rest can be served beside them by a node a
// hop, and whatever comes out is a route.
func TestRepairKeepsWhatStays(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		for range 100 {
			cands, nLayers := randomCandidates(r)
			route, err := Route(cands, nLayers, Options{})
			if err != nil {
				continue
			}
			var lost []int
			exclude := map[string]bool{}
			for i, h := range route {
				if r.IntN(2) == 0 {
					lost = append(lost, i)
					exclude[h.Peer] = true
				}
			}
			got, err := Repair(cands, route, lost, Options{Exclude: exclude})
			possible := onePerHop(cands, route, lost, exclude)
			var no *NoRouteError
			if err != nil && (possible || !errors.As(err, &no)) {
				t.Fatalf("route\n%slost %v of %+v: %v", format(route), lost, cands, err)
			}
			if err != nil {
				continue
			}
			checkTiling(t, cands, nLayers, got)
			for i, h := range route {
				switch {
				case exclude[h.Peer] && slices.ContainsFunc(got, func(g protocol.Hop) bool { return g.Peer == h.Peer }):
					t.Fatalf("%s is used though excluded:\n%s", h.Peer, format(got))
				case possible && !slices.Contains(lost, i) && !slices.ContainsFunc(got, func(g protocol.Hop) bool { return g.Peer == h.Peer && g.Layers == h.Layers }):
					t.Fatalf("hop %d of\n%sdid not stay, lost %v:\n%sof %+v", i, format(route), lost, format(got), cands)
				}
			}
		}
	})
}

// onePerHop reports whether each run of lost hops can be served by one node, all different and none of those that stay.
func onePerHop(cands []Candidate, route []protocol.Hop, lost []int, exclude map[string]bool) bool {
	rep := newRepairer(cands, route, lost, Options{})
	used := map[string]bool{}
	var try func(i int) bool
	try = func(i int) bool {
		if i == len(rep.gaps) {
			return true
		}
		for _, c := range cands {
			if exclude[c.Peer] || rep.stays[c.Peer] || used[c.Peer] || !c.Layers.Contains(rep.gaps[i].layers) || c.reason(&Options{}) != "" {
				continue
			}
			used[c.Peer] = true
			if try(i + 1) {
				return true
			}
			delete(used, c.Peer)
		}
		return false
	}
	return try(0)
}

// TestHistory walks testdata/history.
//
//	note PEER OUTCOME [at=5s] [began=4s]   began at the same time where nothing is said
//	standing PEER [at=5s] [answered=4s]   when its status was asked for
func TestHistory(t *testing.T) {
	t.Parallel()
	datadriven.Walk(t, "testdata/history", func(t *testing.T, path string) {
		var h History
		start := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
		at := func(d *datadriven.TestData, key string) time.Time {
			var s string
			if !d.MaybeScanArgs(t, key, &s) {
				return start
			}
			after, err := time.ParseDuration(s)
			if err != nil {
				d.Fatalf(t, "%v", err)
			}
			return start.Add(after)
		}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			peer := d.CmdArgs[0].Key
			switch d.Cmd {
			case "note":
				for o := OutcomeOK; o <= OutcomeUnfit; o++ {
					if d.HasArg(o.String()) {
						now := at(d, "at")
						began := now
						if d.HasArg("began") {
							began = at(d, "began")
						}
						h.Note(now, peer, o, began)
						return ""
					}
				}
				d.Fatalf(t, "no such outcome")
			case "standing":
				s, until := h.Standing(at(d, "at"), peer, at(d, "answered"))
				name := [...]string{"ok", "doubtful", "busy", "cooldown", "banned"}[s]
				if until.IsZero() {
					return name + "\n"
				}
				return fmt.Sprintf("%s until %s\n", name, until.Sub(start))
			}
			d.Fatalf(t, "unknown command")
			return ""
		})
	})
}

// Strangers cannot make us remember without bound.
func TestHistoryIsBounded(t *testing.T) {
	t.Parallel()
	var h History
	now := time.Unix(0, 0)
	h.Note(now, "banned", OutcomeUnfit, now)
	for i := range 3 * maxHistory {
		h.Note(now.Add(time.Duration(i)), fmt.Sprint(i), OutcomeFailed, now)
	}
	if len(h.peers) != maxHistory {
		t.Errorf("%d peers remembered, want %d", len(h.peers), maxHistory)
	}
	if s, _ := h.Standing(now, "banned", now); s != StandingBanned {
		t.Errorf("the ban was forgotten before failures that end sooner: %d", s)
	}
}
