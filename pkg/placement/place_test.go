// SPDX-License-Identifier: MIT

package placement_test

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/shardnode/shardnode/pkg/placement"
	"github.com/shardnode/shardnode/pkg/protocol"
)

func holders(t *testing.T, ranges ...string) []placement.Holder {
	t.Helper()
	var out []placement.Holder
	for _, s := range ranges {
		r, err := protocol.ParseLayerRange(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, placement.Holder{Layers: r})
	}
	return out
}

// atMost is a node with room for so many layers.
func atMost(n int) func(protocol.LayerRange) bool {
	return func(r protocol.LayerRange) bool { return r.Len() <= n }
}

func TestPlace(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		others []string
		room   int
		want   string
		gaps   int
	}{
		{"the first node", nil, 8, "0-7", 8},
		{"the first node, of a large machine", nil, 99, "0-31", 32},
		{"the next gap", []string{"0-7"}, 8, "8-15", 8},
		{"a gap in the middle", []string{"0-7", "16-31"}, 8, "8-15", 8},
		{"the larger gap", []string{"0-5", "12-19", "28-31"}, 8, "20-27", 8},
		{"no gap: what has one copy", []string{"0-15", "0-15", "16-31"}, 8, "16-23", 0},
		{"a gap smaller than the node", []string{"0-3", "8-31"}, 8, "0-7", 4},
		{"the head weighs as much as the rest", []string{"0-15"}, 16, "16-31", 16},
	} {
		got, gaps := placement.Place(32, holders(t, c.others...), atMost(c.room))
		if got.String() != c.want || gaps != c.gaps {
			t.Errorf("%s: layers %s with %d gaps, want %s with %d", c.name, got, gaps, c.want, c.gaps)
		}
	}
	if got, _ := placement.Place(32, nil, atMost(0)); got.Len() != 0 {
		t.Errorf("nothing fits: %s", got)
	}
	// Two slow copies are less than one fast one.
	others := holders(t, "0-15", "0-15", "16-31")
	others[0].Speed, others[1].Speed, others[2].Speed = 10, 10, 30
	if got, _ := placement.Place(32, others, atMost(16)); got.String() != "0-15" {
		t.Errorf("of slow nodes: %s", got)
	}
	// One that claims wonders counts for eight.
	others[2].Speed = 1e30
	others = append(others, slices.Repeat(holders(t, "0-15"), 7)...)
	if got, _ := placement.Place(32, others, atMost(16)); got.String() != "16-31" {
		t.Errorf("beside a boaster: %s", got)
	}
}

func TestBetter(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		others []string
		mine   string
		room   int
		want   string // "": it stays
	}{
		{"a gap that it can fill", []string{"0-7"}, "0-7", 8, "8-15"},
		{"nobody else has its layers", []string{"8-15"}, "0-7", 8, ""},
		{"the weakest part", []string{"0-15", "0-15", "16-31"}, "0-15", 16, "16-31"},
		{"as good elsewhere", []string{"0-15", "16-31", "16-31"}, "0-15", 16, ""},
		{"some layers would have no copy", []string{"0-7", "16-31"}, "0-15", 16, ""},
		{"it stays where all is alike", []string{"0-31"}, "0-15", 16, ""},
		{"a gap it can fill in part", []string{"0-15"}, "0-15", 8, "16-23"},
	} {
		mine := holders(t, c.mine)[0]
		got, gain, ok := placement.Better(32, holders(t, c.others...), mine, atMost(c.room))
		if ok != (c.want != "") || ok && (got.String() != c.want || gain < placement.MoveGain) {
			t.Errorf("%s: %s, gain %.2f, %v, want %q", c.name, got, gain, ok, c.want)
		}
	}
}

// Whatever a swarm is like: places are within the model, and fit; the order of nodes changes nothing; no move leaves layers to nobody; and
// nodes that move one after the other come to rest.
func TestPlaceProperties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 40).Draw(t, "layers")
		count := rapid.IntRange(1, 8).Draw(t, "nodes")
		rooms := rapid.SliceOfN(rapid.IntRange(1, n), count, count).Draw(t, "rooms")
		speeds := rapid.SliceOfN(rapid.SampledFrom([]float64{0, 1, 2, 5, 40}), count, count).Draw(t, "speeds")
		var nodes []placement.Holder
		for i := range count {
			r, _ := placement.Place(n, nodes, atMost(rooms[i]))
			if !r.Valid(n) || r.Len() != rooms[i] {
				t.Fatalf("layers %s of %d, room for %d", r, n, rooms[i])
			}
			turned := slices.Clone(nodes)
			slices.Reverse(turned)
			if again, _ := placement.Place(n, turned, atMost(rooms[i])); again != r {
				t.Fatalf("%s and %s of the same swarm", r, again)
			}
			nodes = append(nodes, placement.Holder{Layers: r, Speed: speeds[i]})
		}
		gone := rapid.IntRange(0, count-1).Draw(t, "gone")
		nodes, rooms = slices.Delete(nodes, gone, gone+1), slices.Delete(rooms, gone, gone+1)
		moves := 0
		for moved := true; moved; {
			moved = false
			for i := range nodes {
				others := slices.Delete(slices.Clone(nodes), i, i+1)
				r, gain, ok := placement.Better(n, others, nodes[i], atMost(rooms[i]))
				if !ok {
					continue
				}
				served := uncovered(n, nodes)
				nodes[i].Layers = r
				if after := uncovered(n, nodes); after > served || math.IsInf(gain, 1) != (after < served) {
					t.Fatalf("%d layers without a copy, then %d, gain %.2f", served, after, gain)
				}
				moved = true
				if moves++; moves > 100 {
					t.Fatalf("they move for ever: %v", nodes)
				}
			}
		}
	})
}

func uncovered(n int, nodes []placement.Holder) int {
	count := 0
	for l := range n {
		if !slices.ContainsFunc(nodes, func(h placement.Holder) bool { return h.Layers.From <= l && l < h.Layers.To }) {
			count++
		}
	}
	return count
}
