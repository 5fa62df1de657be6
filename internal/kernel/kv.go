// SPDX-License-Identifier: MIT

package kernel

import (
	"fmt"
	"unsafe"

	"github.com/shardnode/shardnode/internal/quant"
)

const (
	// kvTile is the number of positions whose keys are interleaved: one vector of the widest instruction set.
	kvTile = 16

	// KVPage is the number of positions of a page. Their keys or values of one head fit into the first cache and are used for all rows and
	// query heads at a time; they are enough for the routines to work on as many tiles at a time as they can.
	KVPage = 8 * kvTile
)

// KVShape is what is kept of each position of a session.
type KVShape struct {
	Type    quant.Type // F16 or F32
	HeadDim int
	Heads   int // of all layers together
}

// Validate refuses what there is no arithmetic for.
func (s *KVShape) Validate() error {
	switch {
	case s.Type != quant.F16 && s.Type != quant.F32:
		return fmt.Errorf("KV cache of type %v: use F16 or F32", s.Type)
	case s.HeadDim < 1 || s.Heads < 1:
		return fmt.Errorf("%d KV heads of %d dimensions: neither can be less than 1", s.Heads, s.HeadDim)
	}
	return nil
}

// PageBytes returns the memory of a page.
func (s *KVShape) PageBytes() int64 { return int64(s.Heads) * int64(s.headBytes()) }

// headBytes is the part of a page that is one head's: keys, then values.
func (s *KVShape) headBytes() int { return 2 * KVPage * s.HeadDim * s.size() }

// size returns the bytes of a number.
func (s *KVShape) size() int {
	if s.Type == quant.F16 {
		return 2
	}
	return 4
}

// NewKVPage returns a page of zeros.
func (m *Memory) NewKVPage(s *KVShape) ([]byte, error) { return m.alloc(int(s.PageBytes())) }

// KVPages are the pages of a session in the order of its positions. Others may have some of them too: those must not be written.
type KVPages struct {
	shape KVShape
	pages [][]byte // [PageBytes] each
}

// NewKVPages returns no pages yet, of a valid shape.
func NewKVPages(s KVShape) *KVPages { return &KVPages{shape: s} }

// Add appends a page.
func (p *KVPages) Add(page []byte) { p.pages = append(p.pages, page[:p.shape.PageBytes()]) }

// Set puts a page in another one's place.
func (p *KVPages) Set(i int, page []byte) { p.pages[i] = page[:p.shape.PageBytes()] }

// Cut drops the pages from n on.
func (p *KVPages) Cut(n int) {
	clear(p.pages[n:])
	p.pages = p.pages[:n]
}

// Len returns the number of pages.
func (p *KVPages) Len() int { return len(p.pages) }

// Head returns head i of the pages, present and to come.
func (p *KVPages) Head(i int) *KVHead {
	return &KVHead{pages: p, at: i * p.shape.headBytes(), headDim: p.shape.HeadDim, size: p.shape.size()}
}

// KVHead is keys and values of one KV head of one layer in a session's pages. Within a page, keys lie transposed in tiles of 16
// positions, so that neighbouring scores are neighbouring lanes; values lie by position behind them.
type KVHead struct {
	pages         *KVPages
	at            int // where the head's part of a page begins: keys [KVPage/16][headDim][16], then values [KVPage][headDim]
	headDim, size int
}

// narrow reports whether numbers are float16.
func (h *KVHead) narrow() bool { return h.size == 2 }

// keyAt returns in which page a position's key lies, and the place of its first number there; the next ones lie a tile apart.
func (h *KVHead) keyAt(pos int) (page, i int) {
	in := pos % KVPage
	return pos / KVPage, in/kvTile*kvTile*h.headDim + in%kvTile
}

// valueAt returns in which page a position's value lies, and the place of its first number there.
func (h *KVHead) valueAt(pos int) (page, i int) {
	return pos / KVPage, (KVPage + pos%KVPage) * h.headDim
}

// bytes returns n numbers of the head's part of a page, from number i on.
func (h *KVHead) bytes(page, i, n int) []byte {
	return h.pages.pages[page][h.at+i*h.size:][: n*h.size : n*h.size]
}

// f16 and f32 are bytes as what they are. Pages are aligned to cache lines.
func (h *KVHead) f16(page, i, n int) []uint16 {
	return unsafe.Slice((*uint16)(unsafe.Pointer(&h.bytes(page, i, n)[0])), n)
}

func (h *KVHead) f32(page, i, n int) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(&h.bytes(page, i, n)[0])), n)
}

// tiled rounds a number of positions up to whole tiles.
func tiled(positions int) int { return (positions + kvTile - 1) / kvTile * kvTile }

// Put stores key and value of a position, [headDim] each, rounded to the head's type. The position's page is there, and the session's own.
func (h *KVHead) Put(pos int, k, v []float32) {
	done := 0
	if activeOps != nil {
		done = activeOps.putRow(h, pos, k, v)
	}
	h.putPortable(pos, done, k, v)
}

// putPortable stores the dimensions from d on.
func (h *KVHead) putPortable(pos, d int, k, v []float32) {
	n := h.headDim - d
	if n == 0 {
		return
	}
	k, v = k[d:h.headDim], v[d:h.headDim]
	page, key := h.keyAt(pos)
	_, value := h.valueAt(pos)
	key, value = key+d*kvTile, value+d
	if !h.narrow() {
		copy(h.f32(page, value, n), v)
		keys := h.f32(page, key, (n-1)*kvTile+1)
		for i, x := range k {
			keys[i*kvTile] = x
		}
		return
	}
	values, keys := h.f16(page, value, n), h.f16(page, key, (n-1)*kvTile+1)
	for i, x := range v {
		values[i] = quant.F32ToF16(x)
	}
	for i, x := range k {
		keys[i*kvTile] = quant.F32ToF16(x)
	}
}
