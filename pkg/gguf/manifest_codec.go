// SPDX-License-Identifier: MIT

package gguf

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/shardnode/shardnode/internal/quant"
)

// The manifest is one msgpack array [1, metadata, tensors]: metadata an array of [key, value section] by rising key, the value section as in a GGUF
// file (type number and value, little-endian) in a bin; tensors an array of [name, type, dims, sha256] by rising name.
const manifestVersion = 1

// errBadManifest ends every error about a manifest's metadata with what to do.
var errBadManifest = errors.New("get the manifest from another node")

func encodeManifest(m *Manifest) ([]byte, error) {
	var buf bytes.Buffer
	e := msgpack.NewEncoder(&buf)
	e.UseCompactInts(true)
	errs := []error{e.EncodeArrayLen(3), e.EncodeUint(manifestVersion), e.EncodeArrayLen(len(m.Meta.Keys))}
	for _, key := range m.Meta.Keys {
		value, _ := m.Meta.Get(key)
		raw, err := appendValue(nil, value)
		errs = append(errs, err, e.EncodeArrayLen(2), e.EncodeString(key), e.EncodeBytes(raw))
	}
	errs = append(errs, e.EncodeArrayLen(len(m.Tensors)))
	for i := range m.Tensors {
		t := &m.Tensors[i]
		errs = append(errs, e.EncodeArrayLen(4), e.EncodeString(t.Name), e.EncodeUint(uint64(t.Type)), e.EncodeArrayLen(len(t.Dims)))
		for _, d := range t.Dims {
			errs = append(errs, e.EncodeUint(d))
		}
		errs = append(errs, e.EncodeBytes(t.SHA256[:]))
	}
	return buf.Bytes(), errors.Join(errs...)
}

// manifestReader decodes with every length checked against what is left before memory is allocated for it.
type manifestReader struct {
	r   *bytes.Reader
	d   *msgpack.Decoder
	err error
}

func decodeManifest(b []byte) (*Manifest, error) {
	r := bytes.NewReader(b)
	m := &manifestReader{r: r, d: msgpack.NewDecoder(r)}
	if n := m.array("manifest", 3); m.err == nil && n != 3 {
		return nil, fmt.Errorf("want 3 fields, found %d", n)
	}
	if v := m.uint(); m.err == nil && v != manifestVersion {
		return nil, fmt.Errorf("version %d is not known; update this program", v)
	}
	out := &Manifest{Meta: &Metadata{}}
	for range m.array("metadata", maxKeys) {
		m.keyValue(out.Meta)
		if m.err != nil {
			return nil, m.err
		}
	}
	if !slices.IsSorted(out.Meta.Keys) {
		return nil, errors.New("metadata keys are not sorted")
	}
	for range m.array("tensors", maxTensors) {
		t := m.tensor()
		if m.err != nil {
			return nil, m.err
		}
		if n := len(out.Tensors); n > 0 && out.Tensors[n-1].Name >= t.Name {
			return nil, fmt.Errorf("tensor %q is out of order", t.Name)
		}
		out.Tensors = append(out.Tensors, t)
	}
	if m.err == nil && r.Len() > 0 {
		m.err = fmt.Errorf("%d bytes too many", r.Len())
	}
	return out, m.err
}

func (m *manifestReader) fail(format string, args ...any) {
	if m.err == nil {
		m.err = fmt.Errorf(format, args...)
	}
}

// array reads the length of an array, each element of which takes at least a byte.
func (m *manifestReader) array(what string, limit int) int {
	if m.err != nil {
		return 0
	}
	n, err := m.d.DecodeArrayLen()
	switch {
	case err != nil:
		m.fail("%s: %w", what, err)
	case n < 0 || n > limit || n > m.r.Len():
		m.fail("%s: impossible length %d", what, n)
	default:
		return n
	}
	return 0
}

func (m *manifestReader) uint() uint64 {
	if m.err != nil {
		return 0
	}
	v, err := m.d.DecodeUint64()
	if err != nil {
		m.fail("%w", err)
	}
	return v
}

func (m *manifestReader) bytes(what string, limit int) []byte {
	if m.err != nil {
		return nil
	}
	n, err := m.d.DecodeBytesLen()
	switch {
	case err != nil:
		m.fail("%s: %w", what, err)
		return nil
	case n < 0 || n > limit || n > m.r.Len():
		m.fail("%s: impossible length %d", what, n)
		return nil
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(m.d.Buffered(), b); err != nil {
		m.fail("%s: %w", what, err)
	}
	return b
}

func (m *manifestReader) keyValue(meta *Metadata) {
	if n := m.array("metadata entry", 2); m.err == nil && n != 2 {
		m.fail("metadata entry: want 2 fields, found %d", n)
	}
	key := string(m.bytes("metadata key", maxKey))
	raw := m.bytes("metadata value", m.r.Len())
	if m.err != nil {
		return
	}
	r := &reader{data: raw, hint: errBadManifest}
	value := r.value(key, r.u32())
	switch {
	case r.err != nil:
		m.fail("metadata key %q: %w", key, r.err)
	case r.at != len(raw):
		m.fail("metadata key %q: %d bytes too many", key, len(raw)-r.at)
	case key == "", meta.Has(key), ofTheFile(key):
		m.fail("metadata key %q does not belong there", key)
	default:
		meta.Set(key, value)
	}
}

func (m *manifestReader) tensor() ManifestTensor {
	var t ManifestTensor
	if n := m.array("tensor", 4); m.err == nil && n != 4 {
		m.fail("tensor: want 4 fields, found %d", n)
	}
	t.Name = string(m.bytes("tensor name", maxName))
	t.Type = quant.Type(m.uint())
	n := m.array("tensor dimensions", maxDims)
	for range n {
		t.Dims = append(t.Dims, m.uint())
	}
	sum := m.bytes("tensor hash", len(t.SHA256))
	if m.err == nil && len(sum) != len(t.SHA256) {
		m.fail("tensor %q: hash of %d bytes", t.Name, len(sum))
	}
	copy(t.SHA256[:], sum)
	if m.err == nil {
		_, m.err = checkTensor(t.Name, t.Type, t.Dims)
	}
	return t
}
