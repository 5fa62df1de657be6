// SPDX-License-Identifier: MIT

package gguf

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// maxCached bounds a cache file: a manifest with a large vocabulary takes some 10 MB.
const maxCached = 256 << 20

// LoadManifest is [BuildManifestContext] with a cache in cacheDir, keyed by the path made absolute and by the size and modification time that
// the file had when it was opened. A cache that is damaged, describes another file or cannot be written is as none. A file in memory,
// or cacheDir "", has no cache. What is in the cache is not hashed, and progress is not called.
func LoadManifest(ctx context.Context, f *File, path, cacheDir string, progress func(done, total int64)) (*Manifest, error) {
	if path == "" || cacheDir == "" || f.parts[0].info == nil {
		return BuildManifestContext(ctx, f, progress)
	}
	cached, err := cacheFile(path, f.parts, cacheDir)
	if err != nil {
		return nil, err
	}
	if m, err := readCached(cached); err == nil && describes(m, f) {
		return m, nil
	}
	m, err := BuildManifestContext(ctx, f, progress)
	if err != nil {
		return nil, err
	}
	_ = writeCached(cached, m.Bytes) // best effort: without it the next start hashes again
	return m, nil
}

func cacheFile(path string, parts []part, cacheDir string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("manifest cache: %w", err)
	}
	name := []byte(abs)
	for _, p := range parts {
		name = fmt.Appendf(name, "\x00%d\x00%d", p.info.Size(), p.info.ModTime().UnixNano())
	}
	key := sha256.Sum256(name)
	return filepath.Join(cacheDir, "manifest-"+hex.EncodeToString(key[:16])), nil
}

// describes reports whether m is f's manifest, as far as can be told without hashing the tensors.
func describes(m *Manifest, f *File) bool {
	if f.Meta.Has(keyManifest) {
		whole, _ := f.Meta.Get(keyManifest)
		b, ok := whole.([]uint8)
		return ok && bytes.Equal(b, m.Bytes)
	}
	want, err := describe(f)
	if err != nil || len(want.Tensors) != len(m.Tensors) {
		return false
	}
	for i := range want.Tensors {
		want.Tensors[i].SHA256 = m.Tensors[i].SHA256
	}
	encoded, err := encodeManifest(want)
	return err == nil && bytes.Equal(encoded, m.Bytes)
}

// A cache file is the manifest behind its own hash, so that damage shows.
func readCached(path string) (*Manifest, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxCached {
		return nil, errors.New("manifest cache: too large")
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if len(raw) < sha256.Size || sha256.Sum256(raw[sha256.Size:]) != [sha256.Size]byte(raw[:sha256.Size]) {
		return nil, errors.New("manifest cache: damaged")
	}
	return ParseManifest(raw[sha256.Size:])
}

func writeCached(path string, manifest []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".manifest.*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	sum := sha256.Sum256(manifest)
	_, err = tmp.Write(append(sum[:], manifest...))
	if err = errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
