// SPDX-License-Identifier: MIT

package kernel

import "encoding/binary"

// Stream is memory that is read like the weights of a decode step, in pieces shared among a pool's threads, and nothing is done with
// it: how fast that goes is what no decode can surpass. It belongs to one goroutine.
type Stream struct {
	pool   *Pool
	read   readFunc // nil: portable
	memory Memory
	b      []byte
	piece  func(worker, i int) // readPiece, bound once
}

// readFunc reads that many cache lines, a multiple of four.
type readFunc func(b *byte, lines int)

// NewStream reserves size bytes, rounded up to whole pieces. They should be many times the processor's caches.
func (p *Pool) NewStream(size int) (*Stream, error) {
	s := &Stream{pool: p, read: readOf(p.path)}
	s.piece = s.readPiece
	b, err := s.memory.alloc((size + pieceBytes - 1) / pieceBytes * pieceBytes)
	if err != nil {
		return nil, err
	}
	for i := 0; i < len(b); i += 4 << 10 {
		b[i] = 1 // until it is written a page is one and the same page of zeros
	}
	s.b = b
	return s, nil
}

// Bytes returns how much Read reads.
func (s *Stream) Bytes() int { return len(s.b) }

// Read reads the memory once, on all threads of the pool.
func (s *Stream) Read() { s.pool.Run(len(s.b)/pieceBytes, s.piece) }

// Close gives the memory back.
func (s *Stream) Close() error { return s.memory.Close() }

func (s *Stream) readPiece(_, i int) {
	b := s.b[i*pieceBytes:][:pieceBytes]
	if s.read == nil {
		readPortable(b)
		return
	}
	s.read.call(b)
}

//go:noinline
func (f readFunc) call(b []byte) { f(&b[0], len(b)/cacheLine) }

// readPortable loads each word of b. Not inlined: the compiler would see that nobody wants the result.
//
//go:noinline
func readPortable(b []byte) (x uint64) {
	for ; len(b) >= cacheLine; b = b[cacheLine:] {
		line := b[:cacheLine]
		for i := 0; i < cacheLine; i += 8 {
			x |= binary.LittleEndian.Uint64(line[i:])
		}
	}
	return x
}
