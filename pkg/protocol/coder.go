// SPDX-License-Identifier: MIT

package protocol

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
)

// ErrTruncated says that a frame ends before its fields do.
var ErrTruncated = errors.New("frame is truncated")

// ErrNotCanonical says that a value is not in its one shortest encoding.
var ErrNotCanonical = errors.New("frame is not in canonical encoding")

// coder encodes to or decodes from msgpack. Each frame lists its fields once, by calling the coder's methods with pointers to them; after
// the first error the rest is of no effect. It is written by hand, not with msgpack/v5, because decoding has to be canonical, bounded
// before allocation and free of allocations; tests check the bytes against msgpack/v5.
type coder struct {
	b        []byte // encoding: what is written; decoding: what is left
	encoding bool
	err      error
}

// coders is where coders rest: a decode step allocates none.
var coders = sync.Pool{New: func() any { return new(coder) }}

func newCoder(b []byte, encoding bool) *coder {
	c := coders.Get().(*coder)
	c.b, c.encoding, c.err = b, encoding, nil
	return c
}

// free returns c, which then holds none of the caller's memory.
func (c *coder) free() {
	c.b, c.err = nil, nil
	coders.Put(c)
}

func (c *coder) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf(format, args...)
	}
}

// msgpack formats in use (github.com/msgpack/msgpack, spec.md).
const (
	fixArray = 0x90
	fixStr   = 0xa0
	mpFalse  = 0xc2
	mpTrue   = 0xc3
	bin8     = 0xc4
	bin16    = 0xc5
	bin32    = 0xc6
	float32b = 0xca
	uint8b   = 0xcc
	uint16b  = 0xcd
	uint32b  = 0xce
	uint64b  = 0xcf
	str8     = 0xd9
	str16    = 0xda
	array16  = 0xdc
	array32  = 0xdd
)

// take removes n bytes from the front.
func (c *coder) take(n int) []byte {
	if c.err == nil && n > len(c.b) {
		c.err = ErrTruncated
	}
	if c.err != nil {
		return nil
	}
	b := c.b[:n:n] // who appends to a frame's bytes must not write into the body
	c.b = c.b[n:]
	return b
}

// bigEndian takes an n-byte number and checks that it needed n bytes.
func (c *coder) bigEndian(n int, least uint64) uint64 {
	b := c.take(n)
	if b == nil {
		return 0
	}
	var v uint64
	for _, x := range b {
		v = v<<8 | uint64(x)
	}
	if v < least && c.err == nil {
		c.err = ErrNotCanonical
	}
	return v
}

func (c *coder) uint(what string, v, limit uint64) uint64 {
	if c.encoding {
		if v > limit {
			c.fail("%s is %d, at most %d is allowed", what, v, limit)
			return v
		}
		c.b = appendUint(c.b, v)
		return v
	}
	head := c.take(1)
	if head == nil {
		return 0
	}
	switch h := head[0]; {
	case h < 0x80:
		v = uint64(h)
	case h == uint8b:
		v = c.bigEndian(1, 0x80)
	case h == uint16b:
		v = c.bigEndian(2, 1<<8)
	case h == uint32b:
		v = c.bigEndian(4, 1<<16)
	case h == uint64b:
		v = c.bigEndian(8, 1<<32)
	default:
		c.fail("%s: want an unsigned integer, found format 0x%02x", what, h)
		return 0
	}
	if v > limit {
		c.fail("%s is %d, at most %d is allowed", what, v, limit)
		return 0
	}
	return v
}

func appendUint(b []byte, v uint64) []byte {
	switch {
	case v < 0x80:
		return append(b, byte(v))
	case v < 1<<8:
		return append(b, uint8b, byte(v))
	case v < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, uint16b), uint16(v))
	case v < 1<<32:
		return binary.BigEndian.AppendUint32(append(b, uint32b), uint32(v))
	}
	return binary.BigEndian.AppendUint64(append(b, uint64b), v)
}

// number codes an unsigned integer field.
func number[T ~uint8 | ~uint32 | ~uint64](c *coder, what string, v *T, limit uint64) {
	if n := T(c.uint(what, uint64(*v), limit)); !c.encoding {
		*v = n
	}
}

// integer codes a non-negative int field.
func (c *coder) integer(what string, v *int, limit int) {
	if c.encoding && *v < 0 {
		c.fail("%s is negative", what)
		return
	}
	if n := int(c.uint(what, uint64(*v), uint64(limit))); !c.encoding {
		*v = n
	}
}

func (c *coder) bool(what string, v *bool) {
	if c.encoding {
		if *v {
			c.b = append(c.b, mpTrue)
		} else {
			c.b = append(c.b, mpFalse)
		}
		return
	}
	head := c.take(1)
	if head == nil {
		return
	}
	if head[0] != mpTrue && head[0] != mpFalse {
		c.fail("%s: want a bool, found format 0x%02x", what, head[0])
		return
	}
	*v = head[0] == mpTrue
}

// float codes a finite float32.
func (c *coder) float(what string, v *float32) {
	if c.encoding {
		c.b = binary.BigEndian.AppendUint32(append(c.b, float32b), math.Float32bits(*v))
	} else {
		head := c.take(1)
		if head != nil && head[0] != float32b {
			c.fail("%s: want a float32, found format 0x%02x", what, head[0])
		}
		if b := c.take(4); b != nil {
			*v = math.Float32frombits(binary.BigEndian.Uint32(b))
		}
	}
	if f := float64(*v); math.IsNaN(f) || math.IsInf(f, 0) {
		c.fail("%s is not a finite number", what)
	}
}

// array codes an array's length. Each element takes at least a byte, so a length beyond what is left is refused.
func (c *coder) array(what string, n, limit int) int {
	if c.encoding {
		switch {
		case n > limit:
			c.fail("%s has %d elements, at most %d are allowed", what, n, limit)
		case n < 16:
			c.b = append(c.b, fixArray|byte(n))
		case n < 1<<16:
			c.b = binary.BigEndian.AppendUint16(append(c.b, array16), uint16(n))
		default:
			c.b = binary.BigEndian.AppendUint32(append(c.b, array32), uint32(n))
		}
		return n
	}
	head := c.take(1)
	if head == nil {
		return 0
	}
	var v uint64
	switch h := head[0]; {
	case h&0xf0 == fixArray:
		v = uint64(h & 15)
	case h == array16:
		v = c.bigEndian(2, 16)
	case h == array32:
		v = c.bigEndian(4, 1<<16)
	default:
		c.fail("%s: want an array, found format 0x%02x", what, h)
		return 0
	}
	switch {
	case c.err != nil:
		return 0
	case v > uint64(limit):
		c.fail("%s has %d elements, at most %d are allowed", what, v, limit)
		return 0
	case v > uint64(len(c.b)):
		c.err = ErrTruncated
		return 0
	}
	return int(v)
}

// list codes a slice, reusing its memory when decoding.
func list[T any](c *coder, what string, v *[]T, limit int, element func(*coder, *T)) {
	n := c.array(what, len(*v), limit)
	if !c.encoding {
		if c.err != nil {
			return
		}
		*v = slices.Grow((*v)[:0], n)[:n]
	}
	for i := range *v {
		element(c, &(*v)[i])
		if c.err != nil {
			return
		}
	}
}

// bytes codes a bin value. Decoded bytes alias the frame's body.
func (c *coder) bytes(what string, v *[]byte, limit int) {
	if c.encoding {
		c.bin(what, *v, limit)
		return
	}
	if *v = c.take(c.binLen(what, limit)); len(*v) == 0 {
		*v = nil
	}
}

// fixed codes a bin value of exactly len(v) bytes.
func (c *coder) fixed(what string, v []byte) {
	if c.encoding {
		c.bin(what, v, len(v))
		return
	}
	n := c.binLen(what, len(v))
	if c.err == nil && n != len(v) {
		c.fail("%s has %d bytes, want %d", what, n, len(v))
	}
	copy(v, c.take(n))
}

func (c *coder) bin(what string, v []byte, limit int) {
	switch n := len(v); {
	case n > limit:
		c.fail("%s has %d bytes, at most %d are allowed", what, n, limit)
		return
	case n < 1<<8:
		c.b = append(c.b, bin8, byte(n))
	case n < 1<<16:
		c.b = binary.BigEndian.AppendUint16(append(c.b, bin16), uint16(n))
	default:
		c.b = binary.BigEndian.AppendUint32(append(c.b, bin32), uint32(n))
	}
	c.b = append(c.b, v...)
}

func (c *coder) binLen(what string, limit int) int {
	head := c.take(1)
	if head == nil {
		return 0
	}
	var n uint64
	switch h := head[0]; h {
	case bin8:
		n = c.bigEndian(1, 0)
	case bin16:
		n = c.bigEndian(2, 1<<8)
	case bin32:
		n = c.bigEndian(4, 1<<16)
	default:
		c.fail("%s: want bytes, found format 0x%02x", what, h)
	}
	if c.err == nil && n > uint64(limit) {
		c.fail("%s has %d bytes, at most %d are allowed", what, n, limit)
	}
	if c.err != nil {
		return 0
	}
	return int(n)
}

// prose codes a string for people. The sender cuts and cleans it, so that no error stays untold for its wording; the
// receiver is as strict as with any text.
func (c *coder) prose(what string, v *string, limit int) {
	if !c.encoding {
		c.text(what, v, limit)
		return
	}
	s := clean(*v, limit)
	c.text(what, &s, limit)
}

// text codes a string of UTF-8 without control characters: a peer's words reach terminals and logs.
func (c *coder) text(what string, v *string, limit int) {
	if c.encoding {
		switch n := len(*v); {
		case !isClean(*v):
			c.fail("%s holds control characters or is not UTF-8", what)
			return
		case n > limit:
			c.fail("%s has %d bytes, at most %d are allowed", what, n, limit)
			return
		case n < 32:
			c.b = append(c.b, fixStr|byte(n))
		case n < 1<<8:
			c.b = append(c.b, str8, byte(n))
		default:
			c.b = binary.BigEndian.AppendUint16(append(c.b, str16), uint16(n))
		}
		c.b = append(c.b, *v...)
		return
	}
	head := c.take(1)
	if head == nil {
		return
	}
	var n uint64
	switch h := head[0]; {
	case h&0xe0 == fixStr:
		n = uint64(h & 31)
	case h == str8:
		n = c.bigEndian(1, 32)
	case h == str16:
		n = c.bigEndian(2, 1<<8)
	default:
		c.fail("%s: want a string, found format 0x%02x", what, h)
	}
	if c.err == nil && n > uint64(limit) {
		c.fail("%s has %d bytes, at most %d are allowed", what, n, limit)
	}
	if b := c.take(int(n)); b != nil || n == 0 {
		if string(b) != *v { // keeps a reused frame from allocating
			*v = string(b)
		}
		if !isClean(*v) {
			c.fail("%s holds control characters or is not UTF-8", what)
		}
	}
}
