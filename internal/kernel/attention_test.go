// SPDX-License-Identifier: MIT

package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"github.com/shardnode/shardnode/internal/quant"
)

// attend runs one Attention over rows from pos on; q is [rows][heads*dim].
func attend(h *KVHead, q []float32, rows, heads, pos int) []float32 {
	return attendAs(h, q, rows, heads, pos, 0, 0, nil)
}

func attendAs(h *KVHead, q []float32, rows, heads, pos, window int, limit float32, sinks []float32) []float32 {
	dst := make([]float32, len(q))
	h.Attend(&Attention{
		Dst: dst, Q: q, Stride: heads * h.headDim, Rows: rows, Heads: heads, Pos: pos, Window: window, Cap: limit, Sinks: sinks,
		Scale: float32(1 / math.Sqrt(float64(h.headDim))), Scores: make([]float32, ScoresLen(rows, heads, pos+rows)),
	})
	return dst
}

func newKVHead(tb rapid.TB, t quant.Type, positions, dim int) *KVHead {
	tb.Helper()
	h, err := NewKVHead(t, positions, dim)
	if err != nil {
		tb.Fatal(err)
	}
	return h
}

func TestAttentionEqualsReference(t *testing.T) {
	t.Parallel()
	for _, typ := range []quant.Type{quant.F16, quant.F32} {
		t.Run(typ.String(), func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) {
				rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
				dim := rapid.SampledFrom([]int{1, 2, 6, 16, 61, 64, 70, 128}).Draw(t, "dim")
				end := rapid.IntRange(1, 50).Draw(t, "positions")
				rows := rapid.IntRange(1, min(end, 6)).Draw(t, "rows")
				heads := rapid.IntRange(1, 3).Draw(t, "heads")
				h := newKVHead(t, typ, end+rapid.IntRange(0, 20).Draw(t, "room"), dim)
				var k, v [][]float32
				for pos := range end {
					k, v = append(k, randomFloats(rng, dim, 1)), append(v, randomFloats(rng, dim, 1))
					if rapid.IntRange(0, 60).Draw(t, "wild") == 0 {
						k[pos][rng.IntN(dim)], v[pos][rng.IntN(dim)] = wildFloat(rng), wildFloat(rng)
					}
					h.Put(pos, k[pos], v[pos])
				}
				q := randomFloats(rng, rows*heads*dim, 1)
				window := rapid.IntRange(0, 40).Draw(t, "window")
				limit := rapid.SampledFrom([]float32{0, 2, 50}).Draw(t, "limit")
				var sinks []float32
				if rapid.Bool().Draw(t, "sinks") {
					sinks = randomFloats(rng, heads, 3)
				}
				got := attendAs(h, q, rows, heads, end-rows, window, limit, sinks)
				for u := range rows * heads {
					n := end - rows + u/heads + 1
					a := variant{window: window, limit: limit}
					if sinks != nil {
						a.sink = &sinks[u%heads]
					}
					want := refAttention(q[u*dim:(u+1)*dim], k[:n], v[:n], typ == quant.F16, a)
					diff(t, fmt.Sprintf("row %d, head %d", u/heads, u%heads), got[u*dim:(u+1)*dim], want)
				}
			})
		})
	}
}

// TestAttentionChunks: a row's result does not depend on the rows computed with it, nor on what the cache holds beyond its position, nor
// on the room of the cache.
func TestAttentionChunks(t *testing.T) {
	t.Parallel()
	const dim, heads, end = 64, 2, 70
	rng := rand.New(rand.NewPCG(12, 12))
	k, v, q := randomFloats(rng, end*dim, 1), randomFloats(rng, end*dim, 1), randomFloats(rng, end*heads*dim, 1)
	one := newKVHead(t, quant.F16, end, dim)
	var want []float32
	for pos := range end {
		one.Put(pos, k[pos*dim:], v[pos*dim:])
		want = append(want, attend(one, q[pos*heads*dim:(pos+1)*heads*dim], 1, heads, pos)...)
	}
	for _, chunk := range []int{1, 2, 3, 7, 16, 17, 64, end} {
		h := newKVHead(t, quant.F16, 2*end, dim)
		for pos := range 2 * end { // stale values of a session that was rolled back
			h.Put(pos, randomFloats(rng, dim, 1e30), randomFloats(rng, dim, 1e30))
		}
		for pos := 0; pos < end; pos += chunk {
			rows := min(chunk, end-pos)
			for p := pos; p < pos+rows; p++ {
				h.Put(p, k[p*dim:], v[p*dim:])
			}
			got := attend(h, q[pos*heads*dim:(pos+rows)*heads*dim], rows, heads, pos)
			diff(t, fmt.Sprintf("chunks of %d, position %d", chunk, pos), got, want[pos*heads*dim:(pos+rows)*heads*dim])
		}
	}
}

// TestAttentionInPlace writes results over the queries, in rows that hold other heads too, and allocates nothing.
func TestAttentionInPlace(t *testing.T) {
	const dim, heads, rows, stride = 32, 2, 5, 3*32 + 7
	rng := rand.New(rand.NewPCG(13, 13))
	h := newKVHead(t, quant.F32, rows, dim)
	for pos := range rows {
		h.Put(pos, randomFloats(rng, dim, 1), randomFloats(rng, dim, 1))
	}
	q := randomFloats(rng, rows*stride, 1)
	var packed []float32
	for r := range rows {
		packed = append(packed, q[r*stride:r*stride+heads*dim]...)
	}
	want, before := attend(h, packed, rows, heads, 0), append([]float32(nil), q...)
	a := Attention{
		Dst: q, Q: q, Stride: stride, Rows: rows, Heads: heads, Scale: float32(1 / math.Sqrt(dim)), Scores: make([]float32, ScoresLen(rows, heads, rows)),
	}
	h.Attend(&a)
	for r := range rows {
		diff(t, "result", q[r*stride:r*stride+heads*dim], want[r*heads*dim:(r+1)*heads*dim])
		diff(t, "beside it", q[r*stride+heads*dim:(r+1)*stride], before[r*stride+heads*dim:(r+1)*stride])
	}
	a.Window, a.Cap, a.Sinks = 2, 5, []float32{1, 2}
	if allocs := testing.AllocsPerRun(5, func() { h.Attend(&a) }); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func TestKVHeadBytes(t *testing.T) {
	t.Parallel()
	for _, typ := range []quant.Type{quant.F16, quant.F32} {
		for _, n := range []int{0, 1, 16, 17} {
			var mem Memory
			defer mem.Close()
			if err := mem.Reserve(KVHeadBytes(typ, n, 10)); err != nil {
				t.Fatal(err)
			}
			h, err := mem.NewKVHead(typ, n, 10)
			if err != nil {
				t.Fatal(err)
			}
			if len(mem.free) != 0 || len(mem.chunks) > 1 {
				t.Errorf("%v, %d positions: %d chunks, %d of %d bytes left over", typ, n, len(mem.chunks), len(mem.free), KVHeadBytes(typ, n, 10))
			}
			heap := newKVHead(t, typ, n, 10)
			if len(h.k16) != len(heap.k16) || len(h.v16) != len(heap.v16) || len(h.k32) != len(heap.k32) || len(h.v32) != len(heap.v32) {
				t.Errorf("%v, %d positions: other lengths than in the heap", typ, n)
			}
		}
	}
	for _, typ := range []quant.Type{quant.BF16, quant.Q8_0} {
		if _, err := NewKVHead(typ, 1, 1); err == nil {
			t.Errorf("a KV cache of %v: no error", typ)
		}
	}
}
