// SPDX-License-Identifier: MIT

package gguf

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// modelFile writes a model whose first tensor begins with the byte b, and opens it.
func modelFile(t *testing.T, path string, b byte) *File {
	t.Helper()
	tensors := someTensors()
	tensors[0].Data[0] = b
	if err := os.WriteFile(path, written(t, everyValue(), tensors), 0o600); err != nil {
		t.Fatal(err)
	}
	stamp := time.Unix(1_700_000_000+int64(b), 0) // never mistaken for another version, however coarse the file system's clock
	if err := os.Chtimes(path, stamp, stamp); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func loaded(t *testing.T, f *File, path, dir string) *Manifest {
	t.Helper()
	m, err := LoadManifest(t.Context(), f, path, dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func cachedFiles(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	hidden, err := filepath.Glob(filepath.Join(dir, ".*"))
	if err != nil {
		t.Fatal(err)
	}
	return append(names, hidden...)
}

func TestLoadManifestCaches(t *testing.T) {
	t.Parallel()
	path, dir := filepath.Join(t.TempDir(), "m.gguf"), filepath.Join(t.TempDir(), "deep", "cache")
	f := modelFile(t, path, 1)
	want := built(t, f)
	if got := loaded(t, f, path, dir); !bytes.Equal(got.Bytes, want.Bytes) {
		t.Error("the first load differs from building")
	}
	names := cachedFiles(t, dir)
	if len(names) != 1 {
		t.Fatalf("cache holds %q, want one file", names)
	}

	// A manifest of the same file with another hash can only come from the cache.
	marked := built(t, f)
	marked.Tensors[0].SHA256[0] ^= 1
	var err error
	if marked.Bytes, err = encodeManifest(marked); err != nil {
		t.Fatal(err)
	}
	if err := writeCached(names[0], marked.Bytes); err != nil {
		t.Fatal(err)
	}
	if got := loaded(t, f, path, dir); got.ID() != marked.ID() {
		t.Error("the cache was not used")
	}

	// The file changed: its cache does not count, and a file opened before the change does not write it for the new one.
	newer := modelFile(t, path, 2)
	if got := loaded(t, newer, path, dir); got.ID() != built(t, newer).ID() {
		t.Error("a changed file was given the old manifest")
	}
	if got := loaded(t, f, path, dir); got.ID() != marked.ID() {
		t.Error("the file as it was opened was given the new file's manifest")
	}
	if names := cachedFiles(t, dir); len(names) != 2 {
		t.Errorf("cache holds %q, want one file a version", names)
	}
}

func TestLoadManifestSurvivesDamage(t *testing.T) {
	t.Parallel()
	path, dir := filepath.Join(t.TempDir(), "m.gguf"), t.TempDir()
	f := modelFile(t, path, 1)
	want := loaded(t, f, path, dir)
	name := cachedFiles(t, dir)[0]
	good, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	other := &Metadata{}
	other.Set("another", "model")
	foreign := built(t, parsed(t, written(t, other, someTensors())))
	if err := writeCached(name, foreign.Bytes); err != nil {
		t.Fatal(err)
	}
	foreignCache, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(good)
	flipped[len(flipped)-1] ^= 1
	for what, damaged := range map[string][]byte{
		"empty": nil, "short": good[:20], "cut": good[:len(good)-1], "flipped": flipped, "another model's": foreignCache,
	} {
		if err := os.WriteFile(name, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := loaded(t, f, path, dir); got.ID() != want.ID() {
			t.Errorf("%s cache gave another manifest", what)
		}
		if again, err := os.ReadFile(name); err != nil || !bytes.Equal(again, good) {
			t.Errorf("%s cache was not repaired: %v", what, err)
		}
	}

	// A cache directory that cannot be: a file stands in its place.
	if got := loaded(t, f, path, path); got.ID() != want.ID() {
		t.Error("without a cache: another manifest")
	}
}

func TestLoadManifestInMemory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := parsed(t, written(t, everyValue(), someTensors()))
	if got := loaded(t, f, "", dir); got.ID() != built(t, f).ID() {
		t.Error("another manifest")
	}
	if names := cachedFiles(t, dir); len(names) != 0 {
		t.Errorf("a model in memory was cached: %q", names)
	}
}
