// SPDX-License-Identifier: MIT

package placement

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// TestRouteAgainstBruteForce compares Route with an enumeration of every route of up to eight nodes. Costs are few so
// that ties are common, and often far above a hop's overhead so that long routes are.
func TestRouteAgainstBruteForce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		// Our own generator below: rapid leans to small numbers, and most cases would have no route or one hop.
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		for range 200 {
			cands, nLayers := randomCandidates(r)
			compareWithBruteForce(t, cands, nLayers)
		}
	})
}

func randomCandidates(r *rand.Rand) ([]Candidate, int) {
	nLayers := 1 + r.IntN(8)
	unit := []time.Duration{0, 1, hopOverhead, 4 * hopOverhead}[r.IntN(4)]
	var cands []Candidate
	for i := range r.IntN(9) {
		from := r.IntN(nLayers)
		layers := protocol.LayerRange{From: from, To: from + 1 + r.IntN(nLayers-from)}
		cands = append(cands, Candidate{
			Peer: fmt.Sprintf("p%d", (i*5)%8), Layers: layers, // not in the order of names
			StepCost: time.Duration(layers.Len()*r.IntN(9)) * unit,
			RTT:      []time.Duration{0, 2, time.Millisecond, 5 * time.Millisecond}[r.IntN(4)],
			Sessions: r.IntN(4), MaxSessions: []int{0, 0, 0, 3}[r.IntN(4)],
			Draining: r.IntN(20) == 0,
		})
	}
	return cands, nLayers
}

func compareWithBruteForce(t *rapid.T, cands []Candidate, nLayers int) {
	hops, err := Route(cands, nLayers, Options{})
	want := bruteForce(cands, nLayers)
	if want == nil {
		var no *NoRouteError
		if !errors.As(err, &no) {
			t.Fatalf("no route exists, got %v, %v", hops, err)
		}
		return
	}
	if err != nil {
		t.Fatalf("%v, but there is\n%s", err, format(want))
	}
	checkTiling(t, cands, nLayers, hops)
	if format(hops) != format(want) {
		t.Fatalf("got\n%swant\n%sof %+v", format(hops), format(want), cands)
	}
}

// bruteForce tries every sequence of nodes and cuts, and prices each as a whole.
func bruteForce(cands []Candidate, nLayers int) []protocol.Hop {
	prices := map[string]node{}
	var usable []*Candidate
	for i := range cands {
		if c := &cands[i]; !c.Draining && (c.MaxSessions == 0 || c.Sessions < c.MaxSessions) {
			usable = append(usable, c)
		}
	}
	for _, n := range price(usable) {
		prices[n.Peer] = n
	}
	var best, now []protocol.Hop
	used := map[string]bool{}
	var extend func(at int)
	extend = func(at int) {
		if at == nLayers {
			if best == nil || better(prices, now, best) {
				best = append([]protocol.Hop(nil), now...)
			}
			return
		}
		for _, c := range usable {
			if used[c.Peer] || at < c.Layers.From {
				continue
			}
			used[c.Peer] = true
			for to := at + 1; to <= c.Layers.To; to++ {
				now = append(now, protocol.Hop{Peer: c.Peer, Layers: protocol.LayerRange{From: at, To: to}})
				extend(to)
				now = now[:len(now)-1]
			}
			used[c.Peer] = false
		}
	}
	extend(0)
	return best
}

// better is the documented order of whole routes: cost, hops, then per hop the lower peer ID and the longer range.
func better(prices map[string]node, a, b []protocol.Hop) bool {
	total := func(hops []protocol.Hop) (ns int64) {
		var back int64
		for _, h := range hops {
			n := prices[h.Peer]
			ns += n.oneWay + int64(hopOverhead) + n.perLayer*int64(h.Layers.Len())
			back = max(back, n.oneWay)
		}
		return ns + back
	}
	if c := cmp.Or(cmp.Compare(total(a), total(b)), cmp.Compare(len(a), len(b))); c != 0 {
		return c < 0
	}
	for i := range a {
		if c := cmp.Or(cmp.Compare(a[i].Peer, b[i].Peer), cmp.Compare(b[i].Layers.To, a[i].Layers.To)); c != 0 {
			return c < 0
		}
	}
	return false
}
