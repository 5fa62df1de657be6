// SPDX-License-Identifier: MIT

package gguf

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/shardnode/shardnode/internal/quant"
)

// TestHashingLeavesNothingResident: a node hashes the whole file but holds only its own layers.
func TestHashingLeavesNothingResident(t *testing.T) {
	const size = 128 << 20
	meta := &Metadata{}
	meta.Set("general.architecture", "llama")
	var header bytes.Buffer
	if err := Write(&header, meta, []TensorData{{Name: "a", Type: quant.F32, Dims: []uint64{8}, Data: make([]byte, 32)}}); err != nil {
		t.Fatal(err)
	}
	// The same file with a tensor of 128 MiB, sparse on disk.
	raw := bytes.Replace(header.Bytes(), []byte{8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, []byte{0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0}, 1)
	path := filepath.Join(t.TempDir(), "sparse.gguf")
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, int64(len(raw))-32+size); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if f.Tensors[0].Size != size {
		t.Fatalf("tensor of %d bytes", f.Tensors[0].Size)
	}
	before := resident(t)
	if _, err := BuildManifest(f); err != nil {
		t.Fatal(err)
	}
	if grown := resident(t) - before; grown > 32<<10 {
		t.Errorf("hashing 128 MiB left %d KiB of the file resident", grown)
	}
}

// resident returns the KiB of files in this process's memory.
func resident(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := bytes.Cut(status, []byte("RssFile:"))
	var kib int
	if _, err := fmt.Sscan(string(rest), &kib); !ok || err != nil {
		t.Fatalf("no RssFile in /proc/self/status: %v", err)
	}
	return kib
}
