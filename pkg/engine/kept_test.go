// SPDX-License-Identifier: MIT

package engine

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
)

// What is kept is what was appended, whatever the blocks, as far as there is memory and no gap.
func TestKept(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(4, 2))
	for range 500 {
		width, limit := 1+r.IntN(9), 1+r.IntN(40)
		k := newKept(width)
		k.block = 1 + r.IntN(7)
		budget := r.IntN(width * limit * 2)
		used := 0
		var want []byte // [rows][width]
		for at := 0; at < limit; {
			n := min(1+r.IntN(9), limit-at)
			rows := make([]byte, n*width)
			for i := range rows {
				rows[i] = byte(r.Uint32())
			}
			k.append(uint32(at), rows, func(bytes int, _ *block) *block {
				if used+bytes > budget {
					return nil
				}
				used += bytes
				return &block{bytes: make([]byte, bytes), refs: 1}
			})
			if len(want) == at*width { // no gap so far
				want = append(want, rows...)[:int(k.rows)*width]
			}
			at += n
			if r.IntN(5) == 0 {
				at = r.IntN(at + 1)
				k.truncate(uint32(at))
				want = want[:min(len(want), at*width)]
				if r.IntN(8) > 0 {
					continue
				}
				break
			}
		}
		if int(k.rows)*width != len(want) || used != len(k.blocks)*k.block*width || used > budget {
			t.Fatalf("%d rows of %d bytes kept in %d blocks of %d rows, want %d bytes", k.rows, width, len(k.blocks), k.block, len(want))
		}
		if len(want) == 0 {
			continue
		}
		from := r.IntN(int(k.rows))
		n := 1 + r.IntN(int(k.rows)-from)
		if got := k.read([]byte("x"), uint32(from), n); !bytes.Equal(got[1:], want[from*width:(from+n)*width]) {
			t.Fatalf("rows %d to %d differ", from, from+n-1)
		}
	}
}

// BenchmarkKept is what keeping a decode step's output costs, of a model of hidden size 256, 2048 and 4096 in f32.
func BenchmarkKept(b *testing.B) {
	for _, hidden := range []int{256, 2048, 4096} {
		b.Run(fmt.Sprint(hidden), func(b *testing.B) {
			const positions = 2048
			k := newKept(4 * hidden)
			row := make([]byte, 4*hidden)
			at := uint32(0)
			b.ReportAllocs()
			for b.Loop() {
				if at == positions {
					at = 0
					k.truncate(0) // the next session: memory is there already
				}
				k.append(at, row, func(bytes int, _ *block) *block { return &block{bytes: make([]byte, bytes), refs: 1} })
				at++
			}
		})
	}
}
