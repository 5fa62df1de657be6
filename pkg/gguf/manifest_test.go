// SPDX-License-Identifier: MIT

package gguf

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shardnode/shardnode/internal/quant"
)

func built(tb testing.TB, f *File) *Manifest {
	tb.Helper()
	m, err := BuildManifest(f)
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// The canonical encoding of a small model, written by hand in msgpack. The ID depends on it, so that it must never change.
func TestManifestLiteral(t *testing.T) {
	t.Parallel()
	meta := &Metadata{}
	meta.Set("b", "xy")
	meta.Set("general.alignment", uint32(64))
	meta.Set("a", []uint8{5})
	f := parsed(t, written(t, meta, []TensorData{
		{"w", quant.F16, []uint64{2, 300}, make([]byte, 1200)},
		{"n", quant.F32, []uint64{1}, []byte{0, 0, 128, 63}},
	}))
	sum := func(b []byte) string { s := sha256.Sum256(b); return hex.EncodeToString(s[:]) }
	want := "93" + "01" + // [1,
		"92" + // [ two keys
		"92" + "a161" + "c411" + "09000000" + "00000000" + "0100000000000000" + "05" + // "a", array of one uint8
		"92" + "a162" + "c40e" + "08000000" + "0200000000000000" + "7879" + // "b", string
		"92" + // two tensors
		"94" + "a16e" + "00" + "91" + "01" + "c420" + sum([]byte{0, 0, 128, 63}) + // n, F32, [1]
		"94" + "a177" + "01" + "92" + "02" + "cd012c" + "c420" + sum(make([]byte, 1200)) // w, F16, [2, 300]
	m := built(t, f)
	if got := hex.EncodeToString(m.Bytes); got != want {
		t.Errorf("manifest\n%s, want\n%s", got, want)
	}
	if m.ID() != sha256.Sum256(m.Bytes) {
		t.Error("the ID is not the SHA-256 of the bytes")
	}
	back, err := ParseManifest(m.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m.Tensors, back.Tensors); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(m.Meta.values, back.Meta.values); diff != "" {
		t.Error(diff)
	}
}

// What describes the file rather than the model leaves the ID as it is; anything of the model changes it.
func TestManifestIdentity(t *testing.T) {
	t.Parallel()
	id := func(meta *Metadata, tensors []TensorData) [32]byte {
		return built(t, parsed(t, written(t, meta, tensors))).ID()
	}
	want := id(everyValue(), someTensors())

	same := &Metadata{}
	original := everyValue()
	same.Set("shardnode.note", []uint8{1, 2, 3})
	for _, key := range slices.Backward(original.Keys) {
		value, _ := original.Get(key)
		same.Set(key, value)
	}
	same.Set("general.alignment", uint32(256))
	same.Set("split.no", uint16(1))
	tensors := someTensors()
	slices.Reverse(tensors)
	if id(same, tensors) != want {
		t.Error("another order, alignment or part of the same model has another ID")
	}

	for name, change := range map[string]func(*Metadata, []TensorData) []TensorData{
		"value":       func(m *Metadata, ts []TensorData) []TensorData { m.Set("v.u32", uint32(1)); return ts },
		"value type":  func(m *Metadata, ts []TensorData) []TensorData { m.Set("v.bool", uint8(1)); return ts },
		"array type":  func(m *Metadata, ts []TensorData) []TensorData { m.Set("a.none", []uint32{}); return ts },
		"key":         func(m *Metadata, ts []TensorData) []TensorData { m.Set("v.new", true); return ts },
		"tensor bit":  func(_ *Metadata, ts []TensorData) []TensorData { ts[0].Data[101] ^= 0x80; return ts },
		"tensor name": func(_ *Metadata, ts []TensorData) []TensorData { ts[1].Name += "x"; return ts },
		"dimensions":  func(_ *Metadata, ts []TensorData) []TensorData { ts[0].Dims = []uint64{96}; return ts },
		"type": func(_ *Metadata, ts []TensorData) []TensorData {
			ts[1].Type, ts[1].Dims = quant.F16, []uint64{4}
			return ts
		},
		"fewer": func(_ *Metadata, ts []TensorData) []TensorData { return ts[:2] },
	} {
		meta, tensors := everyValue(), someTensors()
		if id(meta, change(meta, tensors)) == want {
			t.Errorf("%s: another model has the same ID", name)
		}
	}
}

func TestParseManifestRefuses(t *testing.T) {
	t.Parallel()
	m := built(t, parsed(t, written(t, everyValue(), someTensors())))
	for n := range m.Bytes {
		if got, err := ParseManifest(m.Bytes[:n]); err == nil || got != nil {
			t.Fatalf("the first %d of %d bytes were accepted", n, len(m.Bytes))
		}
	}
	if _, err := ParseManifest(append(bytes.Clone(m.Bytes), 0)); err == nil || !strings.Contains(err.Error(), "1 bytes too many") {
		t.Errorf("a byte more: %v", err)
	}
	const sum = "c420" + "0000000000000000000000000000000000000000000000000000000000000000"
	for name, c := range map[string]struct{ data, want string }{
		"version":            {"93029090", "version 2 is not known"},
		"fields":             {"92010190", "want 3 fields"},
		"nil":                {"c0", "impossible length -1"},
		"long form":          {"dc0003019090", "canonical"},
		"long integer":       {"93cc019090", "canonical"},
		"array too long":     {"9301dd7fffffff", "metadata: impossible length"},
		"value too long":     {"93019192a161c6ffffffff", "metadata value: impossible length"},
		"value bytes":        {"93019192a161c405040000000190", "metadata key \"a\""},
		"value rest":         {"93019192a161c4060000000001ff90", "1 bytes too many"},
		"unsorted":           {"93019292a162c405000000000192a161c405000000000190", "not sorted"},
		"key twice":          {"93019292a161c405000000000192a161c405000000000190", "does not belong there"},
		"key of the file":    {"93019192b167656e6572616c2e616c69676e6d656e74c405000000002090", "does not belong there"},
		"bin as key":         {"93019192c40161c405000000000190", "canonical"},
		"tensor order":       {"93019092" + "94a162009101" + sum + "94a161009101" + sum, "out of order"},
		"tensor twice":       {"93019092" + "94a161009101" + sum + "94a161009101" + sum, "out of order"},
		"no dimensions":      {"93019091" + "94a1610090" + sum, "0 dimensions"},
		"five dimensions":    {"93019091" + "94a16100950101010101" + sum, "impossible length 5"},
		"dimension 0":        {"93019091" + "94a161009100" + sum, "impossible dimensions"},
		"partial block":      {"93019091" + "94a161029101" + sum, "whole blocks"},
		"tensor name":        {"93019091" + "94a0009101" + sum, "without a name"},
		"short hash":         {"93019091" + "94a161009101" + "c40100", "hash of 1 bytes"},
		"type above 32 bits": {"93019091" + "94a161cf00000001000000009101" + sum, "canonical"},
	} {
		b, err := hex.DecodeString(c.data)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := ParseManifest(b); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
	}
}

// Hashing tells how far it is, and ends between two pieces of a tensor when it is told to; nothing of it is kept then.
func TestBuildManifestStops(t *testing.T) {
	t.Parallel()
	const pieces = 5
	path, cache := filepath.Join(t.TempDir(), "m.gguf"), t.TempDir()
	data := written(t, &Metadata{}, []TensorData{
		{"n", quant.F32, []uint64{1}, make([]byte, 4)},
		{"w", quant.F32, []uint64{hashPiece / 4, pieces}, make([]byte, pieces*hashPiece)},
	})
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ctx, cancel := context.WithCancel(t.Context())
	var seen []int64
	_, err = LoadManifest(ctx, f, path, cache, func(done, total int64) {
		if total != 4+pieces*hashPiece {
			t.Errorf("%d bytes in all", total)
		}
		if seen = append(seen, done); done > 2*hashPiece {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || len(seen) >= 1+pieces || len(cachedFiles(t, cache)) > 0 {
		t.Errorf("stopped after 3 of 6 pieces: error %v, progress %d, cache %q", err, seen, cachedFiles(t, cache))
	}
	seen = nil
	m, err := LoadManifest(t.Context(), f, path, cache, func(done, _ int64) { seen = append(seen, done) })
	if err != nil || m.ID() != built(t, f).ID() || len(seen) != 1+pieces || seen[pieces] != 4+pieces*hashPiece || !slices.IsSorted(seen) {
		t.Errorf("error %v, progress %d", err, seen)
	}
	seen = nil
	if _, err := LoadManifest(t.Context(), f, path, cache, func(done, _ int64) { seen = append(seen, done) }); err != nil || seen != nil {
		t.Errorf("from the cache: error %v, progress %d", err, seen)
	}
}
