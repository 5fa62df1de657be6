// SPDX-License-Identifier: MIT

package layers

import (
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shardnode/shardnode/internal/testmodel"
	"github.com/shardnode/shardnode/pkg/gguf"
	"github.com/shardnode/shardnode/pkg/protocol"
)

func TestLayoutTiles(t *testing.T) {
	t.Parallel()
	a, b := new(Cache), new(Cache)
	run := func(c *Cache, from, n int) (rows []row) {
		for i := range n {
			rows = append(rows, row{cache: c, position: from + i})
		}
		return rows
	}
	for _, c := range []struct {
		name string
		rows []row
		want []tile
	}{
		{"decode", run(a, 7, 1), []tile{{0, 1}}},
		{"full tile", run(a, 3, attentionRows), []tile{{0, attentionRows}}},
		{"prefill", run(a, 0, 2*attentionRows+1), []tile{{0, attentionRows}, {attentionRows, attentionRows}, {2 * attentionRows, 1}}},
		{"sessions at neighbouring positions", slices.Concat(run(a, 4, 2), run(b, 6, 1), run(a, 6, 1)), []tile{{0, 2}, {2, 1}, {3, 1}}},
		{"a gap", slices.Concat(run(a, 4, 2), run(a, 7, 2)), []tile{{0, 2}, {2, 2}}},
	} {
		s := scratch{rows: c.rows}
		s.layoutTiles()
		if d := cmp.Diff(c.want, s.tiles, cmp.AllowUnexported(tile{})); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, d)
		}
	}
}

// TestRowsOfSeveralSessions computes rows of three sessions in one step, as continuous batching does: each has the bits of a step of its own.
func TestRowsOfSeveralSessions(t *testing.T) {
	t.Parallel()
	f, err := gguf.Parse(testmodel.Bytes(testmodel.Default()))
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := ParseConfig(f.Meta)
	if err != nil {
		t.Fatal(err)
	}
	m, err := Load(f, cfg, protocol.LayerRange{From: 1, To: 4}, Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)

	hidden := make([]float32, 40*cfg.Hidden)
	for i := range hidden {
		hidden[i] = float32(i*i%31)/8 - 2
	}
	rows := func(from, n int) []float32 { return hidden[from*cfg.Hidden : (from+n)*cfg.Hidden] }
	before, now := []int{3, 4, 13}, []int{1, 9, 2} // rows of each session's first and second step; each goes on where the one before ends
	var out Output
	var want []float32
	var caches [3]*Cache
	for i := range caches {
		single := m.NewCache(32)
		caches[i] = m.NewCache(32)
		for _, c := range []*Cache{single, caches[i]} {
			if err := m.Forward(c, Input{Hidden: rows(i, before[i])}, &out); err != nil {
				t.Fatal(err)
			}
		}
		if err := m.Forward(single, Input{Hidden: rows(20+i, now[i])}, &out); err != nil {
			t.Fatal(err)
		}
		want = append(want, out.Hidden...)
	}

	s := &m.scratch
	s.rows = s.rows[:0]
	var in []float32
	for i, c := range caches {
		for r := range now[i] {
			s.rows = append(s.rows, row{cache: c, position: c.length + r})
		}
		in = append(in, rows(20+i, now[i])...)
	}
	m.begin()
	copy(s.x, in)
	m.run(m.layers)
	for i, w := range want {
		if math.Float32bits(s.x[i]) != math.Float32bits(w) {
			t.Fatalf("row %d: hidden state %d is %v, alone it was %v", i/cfg.Hidden, i%cfg.Hidden, s.x[i], w)
		}
	}
}
