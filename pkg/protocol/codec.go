// SPDX-License-Identifier: MIT

package protocol

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"slices"
)

// wireFrame is what every frame implements beside [Frame].
type wireFrame interface {
	Frame
	fields(*coder)
	validate() error
}

// Append appends the frame behind its length as an unsigned varint. It allocates nothing when dst has room (and no text has to be
// cut). A frame that breaks a limit or a rule is an error, and dst is returned unchanged.
func Append(dst []byte, f Frame) ([]byte, error) {
	// The length is not known before the body is written. The tensor's size tells how many bytes it takes, nearly always:
	// a large body is then not moved.
	begin, tensor := len(dst), tensorBytes(f)
	room := uvarintLen(tensor)
	b, err := AppendBody(slices.Grow(dst, tensor+binary.MaxVarintLen32)[:begin+room], f)
	if err != nil {
		return dst, err
	}
	size := len(b) - begin - room
	if n := uvarintLen(size); n != room {
		b = slices.Grow(b, n-room)[:begin+n+size]
		copy(b[begin+n:], b[begin+room:begin+room+size])
	}
	binary.PutUvarint(b[begin:], uint64(size))
	return b, nil
}

// tensorBytes is a lower bound of the body's size, near it when that is large.
func tensorBytes(f Frame) int {
	switch f := f.(type) {
	case *IntermediateResult:
		return len(f.Hidden) + len(f.LogitRows)
	case *ModelChunk:
		return len(f.Bytes)
	case *KVRows:
		return len(f.KV)
	case *Burst:
		return len(f.Pad)
	}
	return 0
}

func uvarintLen(n int) int { return (bits.Len64(uint64(n)|1) + 6) / 7 }

// AppendBody appends the frame without its length.
func AppendBody(dst []byte, f Frame) ([]byte, error) {
	w, ok := f.(wireFrame)
	if !ok {
		return dst, fmt.Errorf("encode: %T is not a frame", f)
	}
	if err := w.validate(); err != nil {
		return dst, fmt.Errorf("encode %T: %w", f, err)
	}
	t := f.FrameType()
	c := newCoder(dst, true)
	defer c.free()
	c.array("frame", fieldCount(t), maxFields)
	c.uint("type", uint64(t), maxType)
	w.fields(c)
	if c.err == nil && len(c.b)-len(dst) > MaxFrame {
		c.fail("frame of %d bytes, at most %d are allowed", len(c.b)-len(dst), MaxFrame)
	}
	if c.err != nil {
		return dst, fmt.Errorf("encode %T: %w", f, c.err)
	}
	return c.b, nil
}

const (
	maxFields = 32
	maxType   = 127 // one byte
)

// Peek returns a body's frame type without decoding the rest.
func Peek(body []byte) (Type, error) {
	c := newCoder(body, false)
	defer c.free()
	return peek(c)
}

func peek(c *coder) (Type, error) {
	n := c.array("frame", 0, maxFields)
	t := Type(c.uint("type", 0, maxType))
	if c.err != nil {
		return 0, fmt.Errorf("decode: %w", c.err)
	}
	want := fieldCount(t)
	if want == 0 {
		return 0, fmt.Errorf("decode: unknown frame type %d", t)
	}
	if n != want {
		return 0, fmt.Errorf("decode: frame type %d with %d fields, want %d", t, n, want)
	}
	return t, nil
}

// New returns an empty frame of a type, nil for an unknown one.
func New(t Type) Frame {
	switch t {
	case TypeHello:
		return &Hello{}
	case TypeProof:
		return &Proof{}
	case TypeStatusRequest:
		return &StatusRequest{}
	case TypeStatus:
		return &Status{}
	case TypeModelRequest:
		return &ModelRequest{}
	case TypeModelChunk:
		return &ModelChunk{}
	case TypeOpen:
		return &Open{}
	case TypeOpened:
		return &Opened{}
	case TypeAttach:
		return &Attach{}
	case TypeAttached:
		return &Attached{}
	case TypeStep:
		return &Step{}
	case TypeIntermediateResult:
		return &IntermediateResult{}
	case TypeTruncate:
		return &Truncate{}
	case TypeClose:
		return &Close{}
	case TypeError:
		return &Error{}
	case TypeBeat:
		return &Beat{}
	case TypeLeaving:
		return &Leaving{}
	case TypeExport:
		return &Export{}
	case TypeKVRows:
		return &KVRows{}
	case TypeResume:
		return &Resume{}
	case TypeLinksRequest:
		return &LinksRequest{}
	case TypeLinks:
		return &Links{}
	case TypeBurst:
		return &Burst{}
	case TypeBurstTaken:
		return &BurstTaken{}
	case TypeMove:
		return &Move{}
	case TypeMoving:
		return &Moving{}
	}
	return nil
}

// Decode decodes a body. It is strict: every field, nothing behind them, one encoding per value, all limits and rules. Byte fields alias body.
func Decode(body []byte) (Frame, error) {
	t, err := Peek(body)
	if err != nil {
		return nil, err
	}
	f := New(t)
	if err := DecodeInto(body, f); err != nil {
		return nil, err
	}
	return f, nil
}

// DecodeInto is [Decode] into a frame of the body's type, whose slices are reused: in steady state it allocates nothing. Byte
// fields alias body, which must live and stay unchanged as long as the frame is used. After an error the frame's content is undefined.
func DecodeInto(body []byte, f Frame) error {
	w, ok := f.(wireFrame)
	if !ok {
		return fmt.Errorf("decode: %T is not a frame", f)
	}
	if len(body) > MaxFrame {
		return fmt.Errorf("decode: frame of %d bytes, at most %d are allowed", len(body), MaxFrame)
	}
	c := newCoder(body, false)
	defer c.free()
	t, err := peek(c)
	if err != nil {
		return err
	}
	if t != f.FrameType() {
		return fmt.Errorf("decode: frame of type %d, expected type %d", t, f.FrameType())
	}
	w.fields(c)
	if c.err == nil && len(c.b) > 0 {
		c.fail("%d bytes behind the frame", len(c.b))
	}
	if c.err == nil {
		c.err = w.validate()
	}
	if c.err != nil {
		return fmt.Errorf("decode %T: %w", f, c.err)
	}
	return nil
}

// ErrTooLong says that a frame's length is beyond the reader's limit.
var ErrTooLong = errors.New("frame is too long")

// ReadLength reads a frame's length in its shortest form and checks it against limit. io.EOF is a clean end before the first
// byte.
func ReadLength(r io.ByteReader, limit int) (int, error) {
	var v uint64
	for i := range binary.MaxVarintLen32 {
		b, err := r.ReadByte()
		if err != nil {
			if i > 0 && errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return 0, err
		}
		v |= uint64(b&0x7f) << (7 * i)
		if b >= 0x80 {
			continue
		}
		if b == 0 && i > 0 {
			return 0, fmt.Errorf("frame length: %w", ErrNotCanonical)
		}
		if v == 0 {
			return 0, fmt.Errorf("frame length: %w", ErrTruncated)
		}
		if v > uint64(max(limit, 0)) {
			return 0, fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrTooLong, v, limit)
		}
		return int(v), nil
	}
	return 0, fmt.Errorf("%w: its length has more than %d bytes", ErrTooLong, binary.MaxVarintLen32)
}
