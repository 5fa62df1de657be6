// SPDX-License-Identifier: MIT

package kernel

import (
	"fmt"
	"testing"
)

// TestStream: every path reads whole pieces and nothing beyond, and the portable one reads every byte. Not parallel: AllocsPerRun
// counts the whole process.
func TestStream(t *testing.T) {
	for _, which := range supported() {
		p := newPool(2, which)
		defer p.Close()
		s, err := p.NewStream(3*pieceBytes - 5)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if s.Bytes() != 3*pieceBytes {
			t.Errorf("%s: %d bytes, want whole pieces", which, s.Bytes())
		}
		s.b = guarded[byte](t, pieceBytes)
		if n := testing.AllocsPerRun(5, s.Read); n != 0 {
			t.Errorf("%s: %v allocations a pass", which, n)
		}
	}
	b := make([]byte, 2*cacheLine)
	for i := range b {
		clear(b)
		b[i] = 1
		if readPortable(b) == 0 {
			t.Errorf("byte %d of %d is not read", i, len(b))
		}
	}
}

// BenchmarkStream is what decode is to be compared with in the same run: reading memory like weights.
func BenchmarkStream(b *testing.B) {
	for _, which := range supported() {
		for _, threads := range []int{1, 2} {
			b.Run(fmt.Sprintf("%s/threads=%d", which, threads), func(b *testing.B) {
				p := newPool(threads, which)
				defer p.Close()
				s, err := p.NewStream(1 << 30)
				if err != nil {
					b.Fatal(err)
				}
				defer s.Close()
				b.SetBytes(int64(s.Bytes()))
				for b.Loop() {
					s.Read()
				}
			})
		}
	}
}
