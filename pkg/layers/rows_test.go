// SPDX-License-Identifier: MIT

package layers_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// Rows that were moved into another model's cache, a few at a time and a few layers at a time, continue as if they had been computed
// there: the same logits, bit for bit, whatever the ranges on both sides.
func TestMovedRowsContinue(t *testing.T) {
	t.Parallel()
	const prompt, depth = 19, 5
	tokens := tinyTokens(0)
	for name, opt := range map[string]layers.Options{"f16": {}, "f32": {KV: protocol.F32}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := tiny{layers: depth}.file(t)
			from := newChain(t, f, depth, []int{2}, 1, opt)
			s := from.open(len(tokens))
			if _, err := from.step(s, tokens[:prompt]); err != nil {
				t.Fatal(err)
			}
			for _, cuts := range [][]int{{2}, {}, {1, 3}, {1, 2, 3, 4}} {
				to := newChain(t, f, depth, cuts, 2, opt)
				moved := to.open(len(tokens))
				for i, m := range to.models {
					move(t, moved[i], m.Range(), from.models, s, prompt)
				}
				got, err := to.step(moved, tokens[prompt:])
				if err != nil {
					t.Fatal(err)
				}
				want, err := from.step(s, tokens[prompt:])
				if err != nil {
					t.Fatal(err)
				}
				if err := sameBits(got, want); err != nil {
					t.Errorf("cut at %v: %v", cuts, err)
				}
				if err := s.truncate(prompt); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// move fills a cache of the layers r from those of a chain.
func move(t *testing.T, to *layers.Cache, r protocol.LayerRange, models []*layers.Model, from session, rows int) {
	t.Helper()
	for i, m := range models {
		part := protocol.LayerRange{From: max(r.From, m.Range().From), To: min(r.To, m.Range().To)}
		if part.Len() <= 0 {
			continue
		}
		for at := 0; at < rows; at += 7 {
			n := min(7, rows-at)
			b := from[i].AppendRows(nil, part, at, n)
			if want := n * from[i].RowBytes(part.Len()); len(b) != want {
				t.Fatalf("%d rows of layers %s are %d bytes, want %d", n, part, len(b), want)
			}
			if err := to.SetRows(part, at, b); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := to.Adopt(r, rows); err != nil {
		t.Fatal(err)
	}
}

// The layout is rows, then layers, then heads: what the protocol says.
func TestRowsLayout(t *testing.T) {
	t.Parallel()
	f := tiny{layers: 3}.file(t)
	m := loadRange(t, f, protocol.LayerRange{From: 0, To: 3}, layers.Options{})
	c, out := m.NewCache(8), layers.Output{}
	if err := m.Forward(c, layers.Input{Tokens: tinyTokens(0)[:4]}, &out); err != nil {
		t.Fatal(err)
	}
	all := protocol.LayerRange{From: 0, To: 3}
	var want []byte
	for row := range 4 {
		for l := range 3 {
			want = c.AppendRows(want, protocol.LayerRange{From: l, To: l + 1}, row, 1)
		}
	}
	if got := c.AppendRows(nil, all, 0, 4); !bytes.Equal(got, want) || len(got) == 0 || slices.Max(got) == 0 {
		t.Error("rows of three layers are not, row by row, those of each layer")
	}
}

func TestSetRowsRefuses(t *testing.T) {
	t.Parallel()
	f := tiny{layers: 3}.file(t)
	m := loadRange(t, f, protocol.LayerRange{From: 1, To: 3}, layers.Options{})
	r := m.Range()
	c := m.NewCache(8)
	if err := c.Adopt(r, 2); err != nil {
		t.Fatal(err)
	}
	size := c.RowBytes(2)
	for name, tt := range map[string]struct {
		layers   protocol.LayerRange
		position int
		bytes    int
		want     string
	}{
		"layers before":  {protocol.LayerRange{From: 0, To: 2}, 2, size, "rows of layers 0-1"},
		"layers behind":  {protocol.LayerRange{From: 2, To: 4}, 2, size, "rows of layers 2-3"},
		"no layers":      {protocol.LayerRange{From: 2, To: 2}, 2, size, "rows of layers"},
		"half a row":     {r, 2, size / 2, "are not rows"},
		"rows it has":    {r, 1, size, "the cache has 2 rows"},
		"no room":        {r, 7, 2 * size, "room for 8"},
		"far beyond":     {r, 1 << 40, size, "room for 8"},
		"beyond the end": {r, 8, size, "room for 8"},
	} {
		if err := c.SetRows(tt.layers, tt.position, make([]byte, tt.bytes)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
	for name, err := range map[string]error{
		"fewer rows": c.Adopt(r, 1), "no room": c.Adopt(r, 9), "other layers": c.Adopt(protocol.LayerRange{From: 1, To: 2}, 3),
	} {
		if err == nil {
			t.Errorf("adopt %s: no error", name)
		}
	}
	if c.Len() != 2 {
		t.Error(fmt.Sprint("the cache has now rows: ", c.Len()))
	}
}
