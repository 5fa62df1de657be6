// SPDX-License-Identifier: MIT

package protocol_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/shardnode/shardnode/pkg/protocol"
)

func TestReadLength(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in    string
		limit int
		want  int
		err   error
		words string
	}{
		{"01", 10, 1, nil, ""},
		{"0a", 10, 10, nil, ""},
		{"7f", 1000, 127, nil, ""},
		{"8001", 1000, 128, nil, ""},
		{"e807", 1000, 1000, nil, ""},
		{"80808020", protocol.MaxFrame, 64 << 20, nil, ""},
		{"ffffffff07", 1<<31 - 1, 1<<31 - 1, nil, ""},
		{"", 10, 0, io.EOF, ""},
		{"80", 1000, 0, io.ErrUnexpectedEOF, ""},
		{"808080", 1000, 0, io.ErrUnexpectedEOF, ""},
		{"00", 10, 0, protocol.ErrTruncated, ""},
		{"0b", 10, 0, protocol.ErrTooLong, "11 bytes, at most 10"},
		{"e907", 1000, 0, protocol.ErrTooLong, "1001 bytes, at most 1000"},
		{"8100", 1000, 0, protocol.ErrNotCanonical, ""},
		{"8000", 1000, 0, protocol.ErrNotCanonical, ""},
		{"ff8000", 1000, 0, protocol.ErrNotCanonical, ""},
		{"ffffffffff01", 1 << 30, 0, protocol.ErrTooLong, ""},
		{"ffffffff7f", 1 << 30, 0, protocol.ErrTooLong, "at most"},
	} {
		n, err := protocol.ReadLength(bytes.NewReader(unhex(t, c.in)), c.limit)
		if n != c.want || !errors.Is(err, c.err) || c.err == nil && err != nil {
			t.Errorf("%q: %d, %v, want %d, %v", c.in, n, err, c.want, c.err)
		}
		if err != nil && !strings.Contains(err.Error(), c.words) {
			t.Errorf("%q: %v does not say %q", c.in, err, c.words)
		}
	}
	broken := errors.New("broken line")
	if _, err := protocol.ReadLength(byteReader{iotest.ErrReader(broken)}, 10); !errors.Is(err, broken) {
		t.Errorf("the reader's error is lost: %v", err)
	}
}

type byteReader struct{ io.Reader }

func (r byteReader) ReadByte() (byte, error) {
	var b [1]byte
	_, err := io.ReadFull(r.Reader, b[:])
	return b[0], err
}

// Lengths around each size of the varint, where Append has to move the body.
func TestAppendAroundVarintSizes(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 100, 110, 120, 127, 128, 16300, 16370, 16383, 16384, 1 << 20} {
		f := &protocol.ModelChunk{Total: 1 << 20, Bytes: bytes.Repeat([]byte{0xab}, n)}
		body, err := protocol.AppendBody(nil, f)
		if err != nil {
			t.Fatal(err)
		}
		got, err := protocol.Append([]byte("x"), f)
		want := append(binary.AppendUvarint([]byte("x"), uint64(len(body))), body...)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes: differs from length and body, %v", n, err)
		}
	}
}

func FuzzReadLength(f *testing.F) {
	for _, s := range []string{"01", "7f", "8001", "8100", "80808020", "ffffffffff01", "00", ""} {
		f.Add(unhex(f, s), 1<<26)
	}
	f.Fuzz(func(t *testing.T, b []byte, limit int) {
		r := bytes.NewReader(b)
		n, err := protocol.ReadLength(r, limit)
		if err != nil {
			return
		}
		if n < 1 || n > limit {
			t.Errorf("length %d, limit %d", n, limit)
		}
		if used := b[:len(b)-r.Len()]; !bytes.Equal(used, binary.AppendUvarint(nil, uint64(n))) {
			t.Errorf("%x is not the encoding of %d", used, n)
		}
	})
}
