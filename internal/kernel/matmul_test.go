// SPDX-License-Identifier: MIT

package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"github.com/shardnode/shardnode/internal/quant"
)

// TestMatMulEqualsReference compares every type, over random shapes with all kinds of tails, with the second implementation.
func TestMatMulEqualsReference(t *testing.T) {
	t.Parallel()
	for _, typ := range allTypes {
		t.Run(typ.String(), func(t *testing.T) {
			t.Parallel()
			format, _ := quant.Lookup(typ)
			rapid.Check(t, func(t *rapid.T) {
				rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
				rows := rapid.IntRange(1, 40).Draw(t, "weight rows")
				cols := rapid.IntRange(1, 520).Draw(t, "columns")
				cols = (cols + format.BlockElems - 1) / format.BlockElems * format.BlockElems
				n := rapid.IntRange(1, max(1, min(2*actTile, 20_000/(rows*cols)*min(format.BlockElems, 32)))).Draw(t, "activation rows")
				threads := rapid.IntRange(1, 3).Draw(t, "threads")

				var m *Matrix
				var x []float32
				if rapid.Bool().Draw(t, "wild") {
					m, x = wildMatrix(t, rng, typ, rows, cols), make([]float32, n*cols)
					scale := float32(math.Ldexp(1, rapid.IntRange(-130, 60).Draw(t, "scale")))
					for i := range x {
						x[i] = float32(rng.NormFloat64()) * scale
					}
					for range rapid.IntRange(0, 3).Draw(t, "wild values") {
						x[rng.IntN(len(x))] = wildFloat(rng)
					}
				} else {
					m, x = randomMatrix(t, rng, typ, rows, cols), randomFloats(rng, n*cols, 1)
				}
				diff(t, "product", product(t, m, x, n, threads), refMatMul(m, x, n))
			})
		})
	}
}

// product computes x·mᵀ with fresh memory, by every path that this processor has, which must agree.
func product(tb rapid.TB, m *Matrix, x []float32, n, threads int) []float32 {
	tb.Helper()
	var want []float32
	for _, which := range supported() {
		got := productBy(tb, which, m, x, n, threads)
		if want == nil {
			want = got
		}
		diff(tb, string(which), got, want)
	}
	return want
}

func productBy(tb rapid.TB, which path, m *Matrix, x []float32, n, threads int) []float32 {
	tb.Helper()
	p := newPool(threads, which)
	defer p.Close()
	var mem Memory
	defer mem.Close()
	packed, err := p.Pack(m, &mem)
	if err != nil {
		tb.Fatal(err)
	}
	a, y := NewActs(n, m.Cols), make([]float32, n*m.Rows)
	a.Set(x, n, m.Cols)
	p.MatMul(y, packed, a)
	return y
}

// TestMatMulExtremes has blocks at the limits of the integer sums, and blocks with special scales.
func TestMatMulExtremes(t *testing.T) {
	t.Parallel()
	halves := []uint16{0, 0x8000, 0x0001, 0x03ff, 0x3c00, 0xbc00, 0x7bff, 0x7c00, 0xfc00, 0x7e00}
	x := make([]float32, 3*quant.SuperBlock)
	for i := range x {
		switch {
		case i < quant.SuperBlock:
			x[i] = 3 // every q is 127
		case i < 2*quant.SuperBlock:
			x[i] = -0x1p-100 // every q is -127
		default:
			x[i] = float32(i%7-3) * 1e30
		}
	}
	for _, typ := range allTypes {
		for _, fill := range []byte{0x00, 0xff, 0x80, 0x7f, 0x08} {
			for _, h := range halves {
				m := wildMatrix(t, rand.New(rand.NewPCG(0, 0)), typ, 4, 3*quant.SuperBlock)
				for i := range m.data {
					m.data[i] = fill
				}
				setScales(m, h, h^0x8000)
				for _, n := range []int{1, 4, tileRows} {
					xs := x
					for len(xs) < n*m.Cols {
						xs = append(xs[:len(xs):len(xs)], x...)
					}
					if typ == quant.F32 || typ == quant.F16 || typ == quant.BF16 {
						m.data[0], m.data[1] = byte(h), byte(h>>8)
					}
					diff(t, fmt.Sprintf("%v filled with %02x, scale %04x, %d rows", typ, fill, h, n), product(t, m, xs, n, 1), refMatMul(m, xs, n))
				}
			}
		}
	}
}

// setScales writes the f16 scale, and the offset where there is one, of every block.
func setScales(m *Matrix, scale, offset uint16) {
	format, _ := quant.Lookup(m.Type)
	put := func(at int, h uint16) { m.data[at], m.data[at+1] = byte(h), byte(h>>8) }
	for b := 0; b < len(m.data); b += format.BlockBytes {
		switch m.Type {
		case quant.Q8_0, quant.Q4_0, quant.Q5_0, quant.IQ4_NL, quant.IQ4_XS:
			put(b, scale)
		case quant.MXFP4: // the same power of two
			m.data[b] = byte(int(scale>>10&31) - 15 + 128)
		case quant.Q2_K:
			put(b+80, scale)
			put(b+82, offset)
		case quant.Q3_K:
			put(b+108, scale)
		case quant.Q4_1, quant.Q5_1, quant.Q4_K, quant.Q5_K:
			put(b, scale)
			put(b+2, offset)
		case quant.Q6_K:
			put(b+208, scale)
		}
	}
}

// TestMatMulBatch: a row's result does not depend on the rows beside it nor on the number of threads.
func TestMatMulBatch(t *testing.T) {
	t.Parallel()
	const rows, cols, most = 67, 512, 64
	for _, typ := range allTypes {
		t.Run(typ.String(), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(7, uint64(typ)))
			m, x := randomMatrix(t, rng, typ, rows, cols), randomFloats(rng, most*cols, 1)
			var alone []float32
			for i := range most {
				alone = append(alone, product(t, m, x[i*cols:(i+1)*cols], 1, 1)...)
			}
			for threads := 1; threads <= 4; threads++ {
				for n := 1; n <= most; n += 1 + 5*(threads-1) {
					diff(t, fmt.Sprintf("%d rows, %d threads", n, threads), product(t, m, x[:n*cols], n, threads), alone[:n*rows])
				}
			}
		})
	}
}

// TestMatMulReuse: one set of activations serves matrices of all kinds, and a new Set forgets the old blocks.
func TestMatMulReuse(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(8, 8))
	p := NewPool(2)
	defer p.Close()
	a := NewActs(5, 512)
	for _, n := range []int{5, 2, 3} {
		for _, cols := range []int{512, 256} {
			x := randomFloats(rng, n*cols, 1)
			a.Set(x, n, cols)
			for _, typ := range []quant.Type{quant.Q8_0, quant.F16, quant.Q6_K} {
				m, y := randomMatrix(t, rng, typ, 9, cols), make([]float32, n*9)
				p.MatMul(y, m, a)
				diff(t, fmt.Sprintf("%v, %d rows of %d", typ, n, cols), y, refMatMul(m, x, n))
			}
		}
	}
}

func TestMatMulAllocatesNothing(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	for _, threads := range []int{1, 2} {
		p := NewPool(threads)
		defer p.Close()
		for _, typ := range allTypes {
			for _, n := range []int{1, 4} {
				m, x, y := packed(t, p, randomMatrix(t, rng, typ, 64, 256)), randomFloats(rng, n*256, 1), make([]float32, n*64)
				a := NewActs(n, 256)
				if allocs := testing.AllocsPerRun(20, func() {
					a.Set(x, n, 256)
					p.MatMul(y, m, a)
				}); allocs != 0 {
					t.Errorf("%v, %d rows, %d threads: %v allocations a product", typ, n, threads, allocs)
				}
			}
		}
	}
}

// TestActivationError measures what quantising activations costs, against the figure in docs/numerics.md §2.
func TestActivationError(t *testing.T) {
	t.Parallel()
	const rows, cols = 256, 4096
	rng := rand.New(rand.NewPCG(10, 10))
	m, x := randomMatrix(t, rng, quant.Q8_0, rows, cols), randomFloats(rng, cols, 1)
	rounded, exact := product(t, m, x, 1, 1), product(t, m.Dequantized(), x, 1, 1)
	var noise, signal float64
	for i := range exact {
		d := float64(rounded[i] - exact[i])
		noise += d * d
		signal += float64(exact[i]) * float64(exact[i])
	}
	e := math.Sqrt(noise / signal)
	t.Logf("relative error %.2e", e)
	if e < 3e-3 || e > 7e-3 {
		t.Errorf("relative error %.2e, documented as about 5e-3", e)
	}
}

func TestMatrixRefusesBadShapes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		t          quant.Type
		rows, cols int
		bytes      int
	}{
		{quant.Q8_0, 1, 32, 33},
		{quant.Q8_0, 1, 32, 35},
		{quant.Q8_0, 1, 33, 34},
		{quant.Q8_0, 0, 32, 0},
		{quant.Q8_0, -1, 32, 34},
		{quant.Q8_0, 1, 0, 0},
		{quant.Q4_K, 1, 32, 18},
		{quant.F32, math.MaxInt / 2, 1, 4},
		{quant.Type(99), 1, 32, 34},
	} {
		if _, err := NewMatrix(c.t, c.rows, c.cols, make([]byte, c.bytes)); err == nil {
			t.Errorf("%v, %d rows of %d in %d bytes: no error", c.t, c.rows, c.cols, c.bytes)
		}
	}
}

func TestDequantized(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(11, 11))
	for _, typ := range allTypes {
		m := randomMatrix(t, rng, typ, 3, 256)
		f := m.Dequantized()
		if f.Type != quant.F32 || f.Bytes() != 3*256*4 {
			t.Fatalf("%v: dequantised to %v of %d bytes", typ, f.Type, f.Bytes())
		}
		got, want := make([]float32, 256), make([]float32, 256)
		for r := range 3 {
			f.EmbedRow(got, r)
			if err := quant.Dequantize(typ, want, m.row(r)); err != nil {
				t.Fatal(err)
			}
			diff(t, typ.String(), got, want)
		}
	}
}
