// SPDX-License-Identifier: MIT

package kernel

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/shardnode/shardnode/internal/quant"
)

// A row has keys, then values, little-endian; its position in a tile does not show.
func TestKVRowLayout(t *testing.T) {
	t.Parallel()
	for typ, want := range map[quant.Type][]byte{
		quant.F16: {0, 0x3c, 0, 0xc0, 0, 0x42, 0, 0x44},                                  // 1, -2, 3, 4
		quant.F32: {0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0, 0, 0, 0x40, 0x40, 0, 0, 0x80, 0x40}, // the same
	} {
		h, err := NewKVHead(typ, 20, 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, pos := range []int{0, 15, 16, 19} {
			h.Put(pos, []float32{1, -2}, []float32{3, 4})
			if got := h.AppendRow([]byte{9}, pos); !bytes.Equal(got[1:], want) || got[0] != 9 || h.RowBytes() != len(want) {
				t.Errorf("%v, position %d: % x, want % x behind 9", typ, pos, got, want)
			}
		}
	}
}

// Rows taken from one head and set in another are the same bits, NaNs and subnormals included, and nothing else changes.
func TestKVRowsRoundTrip(t *testing.T) {
	t.Parallel()
	const positions, headDim = 37, 24
	for _, typ := range []quant.Type{quant.F16, quant.F32} {
		t.Run(fmt.Sprint(typ), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(1, uint64(typ)))
			from, _ := NewKVHead(typ, positions, headDim)
			to, _ := NewKVHead(typ, positions, headDim)
			rows := make([][]byte, positions)
			for pos := range positions {
				b := make([]byte, from.RowBytes())
				for i := 0; i < len(b); i += 4 {
					binary.LittleEndian.PutUint32(b[i:], r.Uint32()) // any bits
				}
				if pos == 3 {
					binary.LittleEndian.PutUint32(b, math.Float32bits(float32(math.NaN()))|1)
				}
				rows[pos] = b
				from.SetRow(pos, b)
			}
			for _, pos := range r.Perm(positions) {
				to.SetRow(pos, from.AppendRow(nil, pos))
			}
			for pos, want := range rows {
				if got := to.AppendRow(nil, pos); !bytes.Equal(got, want) {
					t.Fatalf("position %d: % x, want % x", pos, got, want)
				}
			}
		})
	}
}

// What was put and moved attends as what was put.
func TestMovedRowsAttendAlike(t *testing.T) {
	t.Parallel()
	const positions, headDim, heads = 40, 32, 2
	for _, typ := range []quant.Type{quant.F16, quant.F32} {
		r := rand.New(rand.NewPCG(2, uint64(typ)))
		vector := func(n int) []float32 {
			v := make([]float32, n)
			for i := range v {
				v[i] = float32(r.NormFloat64())
			}
			return v
		}
		from, _ := NewKVHead(typ, positions, headDim)
		to, _ := NewKVHead(typ, positions, headDim)
		for pos := range positions {
			from.Put(pos, vector(headDim), vector(headDim))
			to.SetRow(pos, from.AppendRow(nil, pos))
		}
		q := vector(heads * headDim)
		attend := func(h *KVHead) []float32 {
			a := &Attention{Dst: make([]float32, heads*headDim), Q: q, Stride: heads * headDim, Rows: 1, Heads: heads, Pos: positions - 1, Scale: 0.1}
			a.Scores = make([]float32, ScoresLen(1, heads, positions))
			h.Attend(a)
			return a.Dst
		}
		want, got := attend(from), attend(to)
		for i := range want {
			if math.Float32bits(want[i]) != math.Float32bits(got[i]) {
				t.Fatalf("%v: element %d is %v, want %v", typ, i, got[i], want[i])
			}
		}
	}
}
