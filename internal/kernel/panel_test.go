// SPDX-License-Identifier: MIT

package kernel

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/shardnode/shardnode/internal/quant"
)

// TestPanelsEqualPortable goes through every path, type and kind of shape, under -short through a fifth of the shapes. All memory ends at a page
// that must not be touched.
func TestPanelsEqualPortable(t *testing.T) {
	t.Parallel()
	step := 1
	if testing.Short() {
		step = 5
	}
	for _, which := range supported()[1:] {
		for _, typ := range allTypes {
			t.Run(fmt.Sprintf("%s/%v", which, typ), func(t *testing.T) {
				t.Parallel()
				format, _ := quant.Lookup(typ)
				widths := []int{format.BlockElems, 2 * format.BlockElems, 3 * format.BlockElems}
				if format.BlockElems == 1 {
					widths = []int{1, 2, 3, 4, 5, 7, 67}
				}
				rng := rand.New(rand.NewPCG(12, uint64(typ)))
				for rows := 1; rows <= 70; rows += step {
					cols := widths[rows%len(widths)]
					counts := []int{1, 2 + rows%8}
					if rows%9 < 2 { // the highest tile, of wild and of random weights
						counts = append(counts, tileRows+rows%3)
					}
					for _, n := range counts {
						m := wildMatrix(t, rng, typ, rows, cols)
						if rows%2 == 0 {
							m = randomMatrix(t, rng, typ, rows, cols)
						}
						samePanels(t, which, m, randomFloats(rng, n*cols, 1), n, 1+rows%4)
					}
				}
				for _, n := range []int{2, 3, 4, 5, 6, 7, 8, 9, 16, 64} {
					for threads := 1; threads <= 4; threads++ {
						m := randomMatrix(t, rng, typ, 37, 512)
						samePanels(t, which, m, randomFloats(rng, n*512, 1), n, threads)
					}
				}
			})
		}
	}
}

// samePanels computes a product in guarded memory and compares it with the portable one.
func samePanels(t *testing.T, which path, m *Matrix, x []float32, n, threads int) {
	t.Helper()
	want := productBy(t, generic, m, x, n, 1)
	p := newPool(threads, which)
	defer p.Close()
	var mem Memory
	defer mem.Close()
	w, err := p.Pack(m, &mem)
	if err != nil {
		t.Fatal(err)
	}
	a := NewActs(n, m.Cols)
	w.panels, x = guardedCopy(t, w.panels), guardedCopy(t, x)
	a.q, a.d, a.s, a.sum = guardedCopy(t, a.q), guardedCopy(t, a.d), guardedCopy(t, a.s), guardedCopy(t, a.sum)
	for i := range a.d { // what earlier activations may have left
		a.d[i], a.s[i], a.sum[i] = 1e30, 1e30, 1<<30
	}
	y := guarded[float32](t, n*m.Rows)
	for _, p.ahead = range []int{0, 8192} {
		a.Set(x, n, m.Cols)
		p.MatMul(y, w, a)
	}
	diff(t, fmt.Sprintf("%s, %v, %d rows of %d, %d activation rows, %d threads", which, m.Type, m.Rows, m.Cols, n, threads), y, want)
}

// TestEveryPair has each value of a byte of weights, of both nibbles and all fifth bits, beside each value of an activation.
func TestEveryPair(t *testing.T) {
	t.Parallel()
	for _, which := range supported()[1:] {
		for _, typ := range allTypes[3:] {
			t.Run(fmt.Sprintf("%s/%v", which, typ), func(t *testing.T) {
				t.Parallel()
				m := wildMatrix(t, rand.New(rand.NewPCG(0, 0)), typ, 256, quant.SuperBlock)
				for r := range m.Rows {
					row := m.row(r)
					for i := range row {
						row[i] = byte(r)
					}
				}
				setScales(m, 0x3c00, 0x3400)
				// Activations of one value v, which is ±127 times the scale unless a larger one is beside it.
				var x []float32
				for v := -127; v <= 127; v++ {
					for i := range m.Cols {
						f := float32(v)
						if i%32 == v&31 {
							f = 127 - 254*float32(i/32&1)
						}
						x = append(x, f)
					}
				}
				samePanels(t, which, m, x, 255, 2)
			})
		}
	}
}

func TestChoosePath(t *testing.T) {
	t.Parallel()
	all := []path{generic, avx2, avx512, amx}
	for _, c := range []struct {
		want  string
		paths []path
		get   path
	}{
		{"", all, amx},
		{"", all[:3], avx512},
		{"", all[:2], avx2},
		{"", all[:1], generic},
		{"generic", all, generic},
		{"avx2", all, avx2},
		{"avx512", all, avx512},
		{"amx", all, amx},
	} {
		if got, err := choose(c.want, c.paths); got != c.get || err != nil {
			t.Errorf("choose(%q) of %v = %s, %v, want %s", c.want, c.paths, got, err, c.get)
		}
	}
	for _, want := range []string{"avx512", "amx", "sse", "AVX2"} {
		if _, err := choose(want, all[:2]); err == nil || !strings.Contains(err.Error(), "SHARDNODE_CPU="+want) || !strings.Contains(err.Error(), "[generic avx2]") {
			t.Errorf("choose(%q) of %v: error %v", want, all[:2], err)
		}
	}
}

// TestFifths compares with the plain way.
func TestFifths(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(13, 13))
	for range 100 {
		bits := rng.Uint32()
		var want uint32
		for i := range 32 {
			want |= bits >> i & 1 << (8*(i%4) + i/4)
		}
		if got := fifths(binary.LittleEndian.AppendUint32(nil, bits)); got != want {
			t.Fatalf("fifths of %08x = %08x, want %08x", bits, got, want)
		}
	}
}

// TestPackRows packs in pieces, in any order, to the same panels, and to as many bytes as are said before.
func TestPackRows(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(14, 14))
	for _, typ := range allTypes {
		const cols = 512
		for _, rows := range []int{1, 16, 17, 33, 64, 75} {
			p := newPool(2, active)
			defer p.Close()
			m := randomMatrix(t, rng, typ, rows, cols)
			want := packed(t, p, m)
			size, err := PackedBytes(typ, rows, cols)
			if err != nil || size != int64(len(want.Panels())) {
				t.Fatalf("%v, %d rows: %d bytes planned (%v), %d packed", typ, rows, size, err, len(want.Panels()))
			}
			var mem Memory
			defer mem.Close()
			got, err := p.NewPacked(m, &mem)
			if err != nil {
				t.Fatal(err)
			}
			if got == m {
				continue // nothing to pack by this path
			}
			for from := (rows - 1) / 16 * 16; from >= 0; from -= 16 {
				p.PackRows(got, m, from, min(from+16, rows))
			}
			if !bytes.Equal(got.Panels(), want.Panels()) {
				t.Errorf("%v, %d rows: the panels differ from those packed at once", typ, rows)
			}
		}
	}
}

func TestMemoryReserve(t *testing.T) {
	t.Parallel()
	var m Memory
	defer m.Close()
	sizes := []int{1, 64, 65, chunkBytes + 1, 100}
	var total int64
	for _, n := range sizes {
		total += MemoryBytes(int64(n))
	}
	if err := m.Reserve(total); err != nil {
		t.Fatal(err)
	}
	for _, n := range sizes {
		if _, err := m.alloc(n); err != nil {
			t.Fatal(err)
		}
	}
	if len(m.chunks) != 1 || len(m.free) != 0 {
		t.Errorf("%d chunks, %d bytes left over, want one chunk that is used up", len(m.chunks), len(m.free))
	}
	if err := m.Reserve(1 << 62); err == nil {
		t.Error("2^62 bytes were promised")
	}
}

func TestMemory(t *testing.T) {
	t.Parallel()
	var m Memory
	var all [][]byte
	for i, n := range []int{1, 64, 65, chunkBytes, 100, chunkBytes + 1, 3} {
		b, err := m.alloc(n)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) != n || cap(b) != n {
			t.Fatalf("%d bytes of %d, want %d", len(b), cap(b), n)
		}
		b[0], b[n-1] = byte(i+1), byte(i+1)
		all = append(all, b)
	}
	for i, b := range all {
		if b[0] != byte(i+1) || b[len(b)-1] != byte(i+1) {
			t.Errorf("allocation %d was overwritten", i)
		}
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

// Panels made by one pool can be used by another where the fingerprints are the same, and only there.
func TestPanelLayout(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(15, 15))
	matrices := make([]*Matrix, len(allTypes))
	for i, typ := range allTypes {
		matrices[i] = wildMatrix(t, rng, typ, 70, 768)
	}
	fingerprint := func(which path) (layout [32]byte, panels []byte) {
		a, b := newPool(1, which), newPool(3, which)
		defer a.Close()
		defer b.Close()
		if a.PanelLayout() != b.PanelLayout() {
			t.Errorf("%s: the fingerprint depends on the number of threads", which)
		}
		for _, m := range matrices {
			panels = append(panels, packed(t, a, m).Panels()...)
		}
		return a.PanelLayout(), panels
	}
	for _, x := range supported() {
		for _, y := range supported() {
			layoutX, panelsX := fingerprint(x)
			layoutY, panelsY := fingerprint(y)
			if (layoutX == layoutY) != bytes.Equal(panelsX, panelsY) {
				t.Errorf("%s and %s: same fingerprint %v, same panels %v", x, y, layoutX == layoutY, bytes.Equal(panelsX, panelsY))
			}
		}
	}
}
