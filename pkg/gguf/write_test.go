// SPDX-License-Identifier: MIT

package gguf

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/shardnode/shardnode/internal/quant"
)

// streamed are the tensors of [someTensors], each written in pieces of one byte and more.
func streamed() []TensorSource {
	var out []TensorSource
	for _, t := range someTensors() {
		out = append(out, TensorSource{Name: t.Name, Type: t.Type, Dims: t.Dims, Write: func(w io.Writer) error {
			for data, n := t.Data, 1; len(data) > 0; n++ {
				k := min(n, len(data))
				if _, err := w.Write(data[:k]); err != nil {
					return err
				}
				data = data[k:]
			}
			return nil
		}})
	}
	return out
}

func TestWriteStreamEqualsWrite(t *testing.T) {
	t.Parallel()
	for _, alignment := range []uint32{8, 32, 256} {
		meta := everyValue()
		meta.Set("general.alignment", alignment)
		var b bytes.Buffer
		if err := WriteStream(&b, meta, streamed()); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b.Bytes(), written(t, meta, someTensors())) {
			t.Errorf("alignment %d: WriteStream and Write differ", alignment)
		}
	}
}

// failingWriter fails after n bytes.
type failingWriter struct{ n int }

var errFull = errors.New("disk full")

func (w *failingWriter) Write(b []byte) (int, error) {
	if len(b) > w.n {
		return w.n, errFull
	}
	w.n -= len(b)
	return len(b), nil
}

func TestWriteStreamRefuses(t *testing.T) {
	t.Parallel()
	errSource := errors.New("no more rows")
	bytesOf := func(n int) func(io.Writer) error {
		return func(w io.Writer) error {
			_, err := w.Write(make([]byte, n))
			return err
		}
	}
	for want, source := range map[string]TensorSource{
		`tensor "a": 33 bytes were written of 34`: {"a", quant.Q8_0, []uint64{32}, bytesOf(33)},
		`tensor "a": 35 bytes were written of 34`: {"a", quant.Q8_0, []uint64{32}, bytesOf(35)},
		`tensor "a": no more rows`:                {"a", quant.Q8_0, []uint64{32}, func(io.Writer) error { return errSource }},
		`the size of type type(99) is not known`:  {"a", 99, []uint64{32}, bytesOf(1)},
		"not whole blocks of Q8_0":                {"a", quant.Q8_0, []uint64{33}, bytesOf(34)},
	} {
		if err := WriteStream(io.Discard, everyValue(), []TensorSource{source}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
	size := len(written(t, everyValue(), someTensors()))
	for _, n := range []int{0, 10, size / 2, size - 1} {
		if err := WriteStream(&failingWriter{n}, everyValue(), streamed()); !errors.Is(err, errFull) {
			t.Errorf("a writer with room for %d of %d bytes: %v", n, size, err)
		}
		if err := Write(&failingWriter{n}, everyValue(), someTensors()); !errors.Is(err, errFull) {
			t.Errorf("a writer with room for %d of %d bytes: %v", n, size, err)
		}
	}
	if err := WriteStream(&failingWriter{size}, everyValue(), streamed()); err != nil {
		t.Errorf("a writer with room for all: %v", err)
	}
}
