// SPDX-License-Identifier: MIT

package kernel

import (
	"bufio"
	"flag"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/shardnode/shardnode/internal/quant"
)

var update = flag.Bool("update", false, "write testdata/golden.txt anew: other lines than new operations' may change only together with a new contract name")

const goldenFile = "testdata/golden.txt"

// stream is a SplitMix64 generator: golden inputs depend on no library and no floating-point rounding.
type stream uint64

func (s *stream) next() uint64 {
	*s += 0x9e3779b97f4a7c15
	z := uint64(*s)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// floats returns n multiples of 2^-20 in (-4, 4), smaller ones more often.
func (s *stream) floats(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		v := s.next()
		x[i] = float32(int32(v)>>(9+v>>32%8)) * 0x1p-20
	}
	return x
}

// matrix returns weights of random bytes with scales and float exponents of usual size.
func (s *stream) matrix(t *testing.T, typ quant.Type, rows, cols int) *Matrix {
	n, err := quant.RowBytes(typ, cols)
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, rows*n)
	for i := range data {
		data[i] = byte(s.next() >> 56)
	}
	m := newMatrix(t, typ, rows, cols, data)
	switch typ {
	case quant.F32:
		for i := 3; i < len(data); i += 4 {
			data[i] = data[i]&0x80 | 0x3d
		}
	case quant.F16, quant.BF16:
		for i := 1; i < len(data); i += 2 {
			data[i] = data[i]&0x83 | 0x2c
		}
	default:
		setScales(m, 0x2345, 0x9234)
	}
	return m
}

// goldenLines computes every operation on fixed inputs, a line each: name and results in hex.
func goldenLines(t *testing.T) []string {
	var lines []string
	add := func(x []float32, format string, args ...any) {
		var b strings.Builder
		fmt.Fprintf(&b, format, args...)
		for _, v := range x {
			fmt.Fprintf(&b, " %08x", math.Float32bits(v))
		}
		lines = append(lines, b.String())
	}
	for _, typ := range allTypes {
		s := stream(typ)
		m, x := s.matrix(t, typ, 5, 512), s.floats(5*512)
		add(product(t, m, x, 5, 2), "matmul/%v", typ)
		row := make([]float32, 512)
		m.EmbedRow(row, 1)
		add(row[248:264], "row/%v", typ)
	}
	s := stream(1000)
	x, w := s.floats(100), s.floats(100)
	y := make([]float32, 100)
	RMSNorm(y, x, w, 1e-5)
	add(y[:20], "rmsnorm")
	SwiGLU(y, x, w)
	add(y[:20], "swiglu")
	for i, v := range x {
		y[i] = Exp(30 * v)
	}
	add(y[:20], "exp")
	for i := range y {
		y[i] = FMA(x[i], w[i], float32(-x[i]*w[i]))
	}
	add(y[:20], "fma")
	rope, err := NewRope(16, 500000, nil, 1)
	if err != nil {
		t.Fatal(err)
	}
	cos, sin := make([]float32, 8), make([]float32, 8)
	for _, pos := range []int{1, 777, 131071} {
		rope.Angles(cos, sin, pos)
		add(append(append([]float32(nil), cos...), sin...), "angles/%d", pos)
		norm, neox := append([]float32(nil), x[:16]...), append([]float32(nil), x[:16]...)
		RopeNorm(norm, cos, sin)
		RopeNeox(neox, cos, sin)
		add(norm, "ropenorm/%d", pos)
		add(neox, "ropeneox/%d", pos)
	}
	for _, typ := range []quant.Type{quant.F16, quant.F32} {
		const n, dim, rows, heads = 37, 20, 2, 2
		s := stream(2000)
		h := newKVHead(t, typ, n, dim)
		for pos := range n {
			h.Put(pos, s.floats(dim), s.floats(dim))
		}
		add(attend(h, s.floats(rows*heads*dim), rows, heads, n-rows), "attention/%v", typ)
	}
	s = stream(3000)
	x, w = s.floats(100), s.floats(100)
	GeGLU(y, x, w)
	add(y[:20], "geglu")
	Weights(y, x, x[ArgMax(x)], 0.7)
	add(y[:20], "weights")
	new(Remainder).Write(y, x[:96])
	add(y[:20], "remainder")
	SwiGLUClamped(y, x, w)
	add(y[:20], "clamped")
	copy(y, x)
	SoftCap(y, 3)
	add(y[:20], "softcap")
	chosen, shares := make([]int, 3), make([]float32, 3)
	Route(chosen, shares, x)
	add(append(shares, float32(chosen[0]), float32(chosen[1]), float32(chosen[2])), "route")
	if rope, err = NewYarn(16, 150000, Yarn{Factor: 32, Context: 4096, Fast: 32, Slow: 1}); err != nil {
		t.Fatal(err)
	}
	if rope, err = rope.WithMagnitude((Yarn{Factor: 32}).Magnitude()); err != nil {
		t.Fatal(err)
	}
	rope.Angles(cos, sin, 77777)
	add(append(append([]float32(nil), cos...), sin...), "yarn")
	h := newKVHead(t, quant.F16, 40, 16)
	for pos := range 40 {
		h.Put(pos, s.floats(16), s.floats(16))
	}
	add(attendAs(h, s.floats(2*2*16), 2, 2, 38, 21, 5, s.floats(2)), "attention/window, cap and sinks")
	return lines
}

// TestGolden holds the contract across architectures, GOAMD64 levels and time.
func TestGolden(t *testing.T) {
	t.Parallel()
	got := goldenLines(t)
	if *update {
		if err := os.WriteFile(goldenFile, []byte(strings.Join(got, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Open(goldenFile)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	scanner, i := bufio.NewScanner(f), 0
	for ; scanner.Scan(); i++ {
		if i >= len(got) {
			t.Fatalf("%d lines computed, %s has more", len(got), goldenFile)
		}
		if got[i] != scanner.Text() {
			t.Errorf("computed %s\n  golden %s", got[i], scanner.Text())
		}
	}
	if err := scanner.Err(); err != nil {
		t.Fatal(err)
	}
	if i != len(got) {
		t.Errorf("%d lines computed, %s has %d", len(got), goldenFile, i)
	}
}
