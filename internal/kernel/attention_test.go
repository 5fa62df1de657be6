// SPDX-License-Identifier: MIT

package kernel

import (
	"bytes"
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

// NewKVHead returns a head with pages of its own for positions 0 to positions-1.
func NewKVHead(t quant.Type, positions, dim int) (*KVHead, error) {
	shape := KVShape{Type: t, HeadDim: dim, Heads: 1}
	if err := shape.Validate(); err != nil {
		return nil, err
	}
	pages := NewKVPages(shape)
	for range (positions + KVPage - 1) / KVPage {
		pages.Add(make([]byte, shape.PageBytes()))
	}
	return pages.Head(0), nil
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
				end := rapid.OneOf(rapid.IntRange(1, 50), rapid.IntRange(KVPage-3, 2*KVPage+20)).Draw(t, "positions")
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
				window := rapid.OneOf(rapid.IntRange(0, 40), rapid.IntRange(0, KVPage+40)).Draw(t, "window")
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
	const dim, heads, end = 64, 2, KVPage + 70
	rng := rand.New(rand.NewPCG(12, 12))
	k, v, q := randomFloats(rng, end*dim, 1), randomFloats(rng, end*dim, 1), randomFloats(rng, end*heads*dim, 1)
	one := newKVHead(t, quant.F16, end, dim)
	var want []float32
	for pos := range end {
		one.Put(pos, k[pos*dim:], v[pos*dim:])
		want = append(want, attend(one, q[pos*heads*dim:(pos+1)*heads*dim], 1, heads, pos)...)
	}
	for _, chunk := range []int{1, 3, 7, 16, 17, 64, KVPage, end} {
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

// Heads lie side by side in their pages, and fill them: what one stores shows in no other.
func TestKVPages(t *testing.T) {
	t.Parallel()
	for _, shape := range []KVShape{{quant.F16, 10, 3}, {quant.F32, 7, 2}} {
		var mem Memory
		defer mem.Close()
		pages := NewKVPages(shape)
		var heads []*KVHead
		for i := range shape.Heads {
			heads = append(heads, pages.Head(i))
		}
		var rows [][]byte
		rng := rand.New(rand.NewPCG(4, 4))
		for pos := range KVPage + 1 {
			if pos%KVPage == 0 {
				page, err := mem.NewKVPage(&shape)
				if err != nil {
					t.Fatal(err)
				}
				pages.Add(page)
			}
			for _, h := range heads {
				h.Put(pos, randomFloats(rng, shape.HeadDim, 1), randomFloats(rng, shape.HeadDim, 1))
				rows = append(rows, h.AppendRow(nil, pos))
			}
		}
		zeros := 0
		for _, b := range pages.pages[0] {
			if b == 0 {
				zeros++
			}
		}
		if zeros > len(pages.pages[0])/20 {
			t.Errorf("%+v: %d of %d bytes of a full page were never written", shape, zeros, len(pages.pages[0]))
		}
		// A copy in the first page's place is as good.
		other := make([]byte, shape.PageBytes())
		copy(other, pages.pages[0])
		clear(pages.pages[0])
		pages.Set(0, other)
		for i, want := range rows {
			if got := heads[i%shape.Heads].AppendRow(nil, i/shape.Heads); !bytes.Equal(got, want) {
				t.Fatalf("%+v: head %d, position %d: % x, want % x", shape, i%shape.Heads, i/shape.Heads, got, want)
			}
		}
		if pages.Cut(1); pages.Len() != 1 {
			t.Errorf("%d pages left, want 1", pages.Len())
		}
	}
	for _, bad := range []KVShape{{quant.BF16, 1, 1}, {quant.Q8_0, 1, 1}, {quant.F16, 0, 1}, {quant.F16, 1, 0}} {
		if bad.Validate() == nil {
			t.Errorf("%+v: no error", bad)
		}
	}
}
