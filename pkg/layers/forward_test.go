// SPDX-License-Identifier: MIT

package layers_test

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// A step that cannot be run says why and leaves the cache as it was.
func TestForwardRefuses(t *testing.T) {
	t.Parallel()
	f := tiny{}.file(t)
	first := loadRange(t, f, protocol.LayerRange{From: 0, To: 2}, layers.Options{})
	last := loadRange(t, f, protocol.LayerRange{From: 2, To: tinyDepth}, layers.Options{})
	var out layers.Output
	ids := func(n int) []protocol.TokenID { return make([]protocol.TokenID, n) }
	hidden := func(n int) []float32 { return make([]float32, n*tinyHidden) }
	for _, c := range []struct {
		name  string
		model *layers.Model
		cache *layers.Cache
		in    layers.Input
		words string
	}{
		{"no tokens", first, first.NewCache(8), layers.Input{Hidden: hidden(1)}, "0 rows"},
		{"no hidden states", last, last.NewCache(8), layers.Input{Tokens: ids(1)}, "0 hidden states"},
		{"part of a row", last, last.NewCache(8), layers.Input{Hidden: hidden(2)[1:]}, "511 256"},
		{"token", first, first.NewCache(8), layers.Input{Tokens: []protocol.TokenID{1, tinyVocab}}, "token 64"},
		{"largest token", first, first.NewCache(8), layers.Input{Tokens: []protocol.TokenID{1 << 31}}, "token vocabulary"},
		{"rows", first, first.NewCache(8), layers.Input{Tokens: ids(layers.MaxRows + 1)}, "1025 1024"},
		{"layers not held", first, first.NewCache(8), layers.Input{Layers: protocol.LayerRange{From: 0, To: 3}, Tokens: ids(1)}, "0-2 0-1"},
		{"no layers", first, first.NewCache(8), layers.Input{Layers: protocol.LayerRange{From: 1, To: 1}, Tokens: ids(1)}, "not within"},
		{"backward layers", first, first.NewCache(8), layers.Input{Layers: protocol.LayerRange{From: 2, To: 1}, Tokens: ids(1)}, "not within"},
		{"another model's cache", first, last.NewCache(8), layers.Input{Tokens: ids(1)}, "another model"},
		{"logits beyond", last, last.NewCache(8), layers.Input{Hidden: hidden(2), Logits: []uint32{2}}, "row 2"},
		{"logits far beyond", last, last.NewCache(8), layers.Input{Hidden: hidden(2), Logits: []uint32{1 << 31}}, "row"},
		{"too many logits", last, last.NewCache(8), layers.Input{Hidden: hidden(2), Logits: []uint32{0, 1, 1}}, "3 rows 2 rows"},
		{"full", first, first.NewCache(3), layers.Input{Tokens: ids(4)}, "full 4 rows 3"},
		{"nothing reserved", first, first.NewCache(-1), layers.Input{Tokens: ids(1)}, "full"},
	} {
		err := c.model.Forward(c.cache, c.in, &out)
		if err == nil {
			t.Errorf("%s: accepted", c.name)
			continue
		}
		for word := range strings.FieldsSeq(c.words) {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%s: the error %q does not mention %s", c.name, err, word)
			}
		}
		if c.cache.Len() != 0 {
			t.Errorf("%s: the cache has %d rows", c.name, c.cache.Len())
		}
	}

	// Rows that have been through one layer more or less are no base for others.
	cache := first.NewCache(8)
	one := protocol.LayerRange{From: 0, To: 1}
	if err := first.Forward(cache, layers.Input{Layers: one, Tokens: ids(1)}, &out); err != nil {
		t.Fatal(err)
	}
	if err := first.Forward(cache, layers.Input{Tokens: ids(1)}, &out); err == nil || cache.Len() != 1 {
		t.Errorf("a cache of layers 0 went on with layers 0-1: %v", err)
	}
	cache.Reset()
	if err := first.Forward(cache, layers.Input{Tokens: ids(1)}, &out); err != nil {
		t.Error(err)
	}
}

func TestCache(t *testing.T) {
	t.Parallel()
	f := tiny{}.file(t)
	m := loadRange(t, f, protocol.LayerRange{From: 1, To: 3}, layers.Options{})
	wide := loadRange(t, f, protocol.LayerRange{From: 1, To: 3}, layers.Options{KV: protocol.F32})
	c := m.NewCache(20)
	if c.Bytes() != m.KVBytes(20) || c.Positions() != 20 || c.Len() != 0 {
		t.Errorf("a new cache of 20 positions has %d bytes, %d positions, %d rows; planned %d bytes", c.Bytes(), c.Positions(), c.Len(), m.KVBytes(20))
	}
	// Keys and values of 2 layers, 2 heads of 32 elements, 2 bytes each, for a page.
	if want := int64(layers.PageRows * 2 * 2 * 2 * tinyDim * 2); m.KVBytes(20) != want || wide.KVBytes(20) != 2*want {
		t.Errorf("20 positions take %d bytes in f16 and %d in f32, want a page of %d or twice that", m.KVBytes(20), wide.KVBytes(20), want)
	}
	// Never more than the context, however much is asked for.
	if huge := m.NewCache(math.MaxInt); huge.Positions() != tinyContext || huge.Bytes() != m.KVBytes(math.MaxInt) || huge.Bytes() != m.KVBytes(tinyContext) {
		t.Errorf("a huge cache has %d positions and %d bytes", huge.Positions(), huge.Bytes())
	}
	var out layers.Output
	if err := m.Forward(c, layers.Input{Hidden: make([]float32, 18*tinyHidden)}, &out); err != nil {
		t.Fatal(err)
	}
	err := m.Forward(c, layers.Input{Hidden: make([]float32, 3*tinyHidden)}, &out)
	if !errors.Is(err, layers.ErrCacheFull) || c.Len() != 18 {
		t.Errorf("3 rows more on %d of 20: %v", c.Len(), err)
	}
	for _, position := range []int{-1, 19} {
		if err := c.Truncate(position); err == nil || c.Len() != 18 {
			t.Errorf("truncate to %d: %v, %d rows", position, err, c.Len())
		}
	}
	if err := c.Truncate(7); err != nil || c.Len() != 7 {
		t.Errorf("truncate to 7: %v, %d rows", err, c.Len())
	}
}

// TestProcessing lets the clock say what it measures.
func TestProcessing(t *testing.T) {
	t.Parallel()
	now := time.Unix(1, 0)
	clock := func() time.Time { now = now.Add(3 * time.Millisecond); return now }
	m := loadRange(t, tiny{layers: 1}.file(t), protocol.LayerRange{From: 0, To: 1}, layers.Options{Now: clock})
	var out layers.Output
	if err := m.Forward(m.NewCache(4), layers.Input{Tokens: []protocol.TokenID{1}}, &out); err != nil {
		t.Fatal(err)
	}
	if out.Processing != 3*time.Millisecond {
		t.Errorf("processing took %v, want the 3ms between two looks at the clock", out.Processing)
	}
}

// TestDecodeAllocatesNothing is not parallel: AllocsPerRun counts what the whole process allocates.
func TestDecodeAllocatesNothing(t *testing.T) {
	f := tiny{}.file(t)
	for _, threads := range []int{1, 2} {
		for _, r := range []protocol.LayerRange{{From: 0, To: 1}, {From: 1, To: 3}, {From: 3, To: tinyDepth}, {From: 0, To: tinyDepth}} {
			m := loadRange(t, f, r, layers.Options{Threads: threads})
			cache := m.NewCache(tinyContext)
			var out layers.Output
			in := layers.Input{Tokens: []protocol.TokenID{3}, Hidden: make([]float32, tinyHidden), Logits: []uint32{0}}
			step := func() {
				if err := m.Forward(cache, in, &out); err != nil {
					t.Fatal(err)
				}
			}
			step()
			if n := testing.AllocsPerRun(50, step); n != 0 {
				t.Errorf("layers %s, %d threads: %v allocations a decode step", r, threads, n)
			}
		}
	}
}
