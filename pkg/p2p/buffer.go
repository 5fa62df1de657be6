// SPDX-License-Identifier: MIT

package p2p

import "slices"

// A frame buffer larger than keepBuffer goes back to the collector after shrinkAfter frames that need less than an
// eighth of it: a prefill chunk of 16 MB must not stay with the session for its thousands of 8 KB decode steps.
const (
	keepBuffer  = 256 << 10
	shrinkAfter = 16
)

// frameBuffer is a reusable buffer. One owner at a time: take, fill, put.
type frameBuffer struct {
	b     []byte
	small int // frames in a row that needed little of it
}

// take returns the buffer, empty.
func (f *frameBuffer) take() []byte { return f.b[:0] }

// put keeps b, grown or not, for the next frame. Its contents stay valid until the next take.
func (f *frameBuffer) put(b []byte) {
	if cap(b) <= keepBuffer || len(b) > cap(b)/8 {
		f.small = 0
	} else if f.small++; f.small >= shrinkAfter {
		f.small = 0
		b = slices.Clone(b)
	}
	f.b = b
}
