// SPDX-License-Identifier: MIT

package layers_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// TestRoundEqualsTheWire: whatever ranges compute it, a session that rounds at given boundaries has one result: a boundary between two ranges is rounded
// on the wire if it is one of them and travels as it is if not, one within a range is rounded on the way.
func TestRoundEqualsTheWire(t *testing.T) {
	t.Parallel()
	f := tiny{}.file(t)
	tokens := tinyTokens(0)
	run := func(rounds []uint32, cuts ...int) []float32 {
		c := newChain(t, f, tinyDepth, cuts, 2, layers.Options{})
		s := c.open(tinyContext)
		var logits []float32
		for part := range slices.Chunk(tokens, 7) {
			in := layers.Input{Tokens: part, Logits: make([]uint32, len(part)), Round: rounds}
			for i := range in.Logits {
				in.Logits[i] = uint32(i)
			}
			for i, m := range c.models {
				if err := m.Forward(s[i], in, &c.outs[i]); err != nil {
					t.Fatal(err)
				}
				in.Hidden = slices.Clone(c.outs[i].Hidden)
				if slices.Contains(rounds, uint32(m.Range().To)) {
					sent := protocol.AppendHidden(nil, in.Hidden, protocol.F16)
					if err := protocol.HiddenInto(in.Hidden, sent, protocol.F16); err != nil {
						t.Fatal(err)
					}
				}
			}
			logits = append(logits, c.outs[len(c.outs)-1].Logits...)
		}
		return logits
	}
	exact := run(nil)
	for _, rounds := range [][]uint32{{1}, {2}, {1, 3}, {1, 2, 3}} {
		var original []int
		for _, b := range rounds {
			original = append(original, int(b))
		}
		want := run(rounds, original...)
		if sameBits(want, exact) == nil {
			t.Errorf("rounding at %v changes nothing: the test would notice nothing", rounds)
		}
		for cuts := range 1 << (tinyDepth - 1) {
			var healed []int
			for l := 1; l < tinyDepth; l++ {
				if cuts>>(l-1)&1 == 1 {
					healed = append(healed, l)
				}
			}
			if err := sameBits(run(rounds, healed...), want); err != nil {
				t.Errorf("rounded at %v, cut at %v: %v", fmt.Sprint(rounds), healed, err)
			}
		}
	}
}
