// SPDX-License-Identifier: MIT

package kernel

import (
	"encoding/binary"
	"math"
	"math/big"
	"slices"

	"github.com/shardnode/shardnode/internal/quant"
)

// A second implementation, written from docs/numerics.md alone and with no thought of speed. Only the conversion of f16 and bf16 is
// shared with the first, and the f64 functions of §5, which are specified by their code and tested for accuracy.

// refFMA is §1's fma by exact arithmetic.
func refFMA(x, y, z float32) float32 {
	for _, v := range []float32{x, y, z} {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return float32(float64(x)*float64(y) + float64(z)) // no rounding matters
		}
	}
	exact := func(v float32) *big.Float { return new(big.Float).SetPrec(1000).SetFloat64(float64(v)) }
	p := exact(x)
	p.Mul(p, exact(y))
	p.Add(p, exact(z))
	f, _ := p.Float32()
	return f
}

// refQuantize is the activation quantisation of §2 for one block.
func refQuantize(x []float32) (q [32]int, d, s float32) {
	var amax float32
	for _, v := range x {
		a := float32(math.Abs(float64(v)))
		if math.IsNaN(float64(a)) || math.IsInf(float64(a), 0) {
			nan := float32(math.NaN())
			return q, nan, nan
		}
		if a > amax {
			amax = a
		}
	}
	if float64(amax) < math.Ldexp(1, -120) {
		return q, 0, 0
	}
	d = amax / 127
	id := 127 / amax
	sum := 0
	for i, v := range x {
		q[i] = int(math.RoundToEven(float64(float32(v * id))))
		sum += q[i]
	}
	return q, d, float32(float32(sum) * d)
}

// refBlock returns the integers of weight block b of a row, less the format's offset, its scale (before da), and the coefficient of s.
func refBlock(t quant.Type, row []byte, b int) (w [32]int, scale, offset float32, subScale [2]int, hasOffset bool) {
	f16 := func(p []byte) float32 { return quant.F16ToF32(binary.LittleEndian.Uint16(p)) }
	nibble := func(p []byte, i int) int { // 32 numbers in 16 bytes
		if i < 16 {
			return int(p[i]) % 16
		}
		return int(p[i-16]) / 16
	}
	bit := func(p []byte, i int) int { return int(p[i/8]) >> (i % 8) % 2 }
	sixBits := func(p []byte, j int) (sc, mn int) {
		if j < 4 {
			return int(p[j]) % 64, int(p[j+4]) % 64
		}
		return int(p[j+4])%16 + int(p[j-4])/64*16, int(p[j+4])/16 + int(p[j])/64*16
	}
	subScale = [2]int{1, 1}
	for i := range w {
		switch t {
		case quant.Q8_0:
			p := row[b*34:]
			w[i], scale = int(int8(p[2+i])), f16(p)
		case quant.Q4_0:
			p := row[b*18:]
			w[i], scale = nibble(p[2:], i)-8, f16(p)
		case quant.Q5_0:
			p := row[b*22:]
			w[i], scale = nibble(p[6:], i)+16*bit(p[2:], i)-16, f16(p)
		case quant.Q4_1:
			p := row[b*20:]
			w[i], scale, offset, hasOffset = nibble(p[4:], i), f16(p), f16(p[2:]), true
		case quant.Q5_1:
			p := row[b*24:]
			w[i], scale, offset, hasOffset = nibble(p[8:], i)+16*bit(p[4:], i), f16(p), f16(p[2:]), true
		case quant.Q4_K, quant.Q5_K:
			j, size, low := b%8, 144, 16
			if t == quant.Q5_K {
				size, low = 176, 48
			}
			p := row[b/8*size:]
			sc, mn := sixBits(p[4:16], j)
			scale, offset, hasOffset = float32(f16(p)*float32(sc)), -float32(f16(p[2:])*float32(mn)), true
			w[i] = int(p[low+j/2*32+i])
			if j%2 == 0 {
				w[i] %= 16
			} else {
				w[i] /= 16
			}
			if t == quant.Q5_K {
				w[i] += 16 * (int(p[16+i]) >> j % 2)
			}
		case quant.Q6_K:
			p := row[b/8*210:]
			e := b%8*32 + i // element of the super-block
			half, in := e/128, e%128
			low, high := int(p[64*half+in%64]), int(p[128+32*half+in%32])
			if in < 64 {
				low %= 16
			} else {
				low /= 16
			}
			w[i] = low + 16*(high>>(2*(in/32))%4) - 32
			scale = f16(p[208:])
			subScale[i/16] = int(int8(p[192+e/16]))
		case quant.Q2_K, quant.Q3_K:
			e := b%8*32 + i
			pair := func(p []byte) int { return int(p[e/128*32+e%32]) >> (e % 128 / 32 * 2) % 4 }
			if t == quant.Q2_K {
				p := row[b/8*84:]
				w[i], scale = pair(p[16:]), f16(p[80:])
				subScale[i/16] = int(p[e/16]) % 16
				continue
			}
			p := row[b/8*110:]
			w[i], scale = pair(p[32:])+4*(int(p[e%32])>>(e/32)%2)-4, f16(p[108:])
			j := e / 16
			subScale[i/16] = int(p[96+j%8])>>(j/8*4)%16 + 16*(int(p[104+j%4])>>(j/4*2)%4) - 32
		case quant.IQ4_NL:
			p := row[b*18:]
			w[i], scale = refIQ4[nibble(p[2:], i)], f16(p)
		case quant.IQ4_XS:
			p, j := row[b/8*136:], b%8
			sc := int(p[4+j/2])>>(j%2*4)%16 + 16*(int(binary.LittleEndian.Uint16(p[2:]))>>(2*j)%4) - 32
			w[i], scale = refIQ4[nibble(p[8+16*j:], i)], float32(f16(p)*float32(sc))
		case quant.MXFP4:
			p := row[b*17:]
			w[i], scale = refMXFP4[nibble(p[1:], i)], float32(math.Ldexp(1, int(p[0])-128))
		}
	}
	return w, scale, offset, subScale, hasOffset
}

var (
	refIQ4   = [16]int{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}
	refMXFP4 = [16]int{0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12}
)

// refLows is what Q2_K takes away: the minimum of each half of a block times the sum of its activations.
func refLows(row []byte, b int, q [32]int) (n int, dmin float32) {
	p := row[b/8*84:]
	for i, v := range q {
		n += int(p[b%8*2+i/16]) / 16 * v
	}
	return n, quant.F16ToF32(binary.LittleEndian.Uint16(p[82:]))
}

// refDot is one element of a product: §2 or §3.
func refDot(t quant.Type, row []byte, x []float32) float32 {
	if t == quant.F32 || t == quant.F16 || t == quant.BF16 {
		var p [4]float32
		for k, v := range x {
			var w float32
			switch t {
			case quant.F32:
				w = math.Float32frombits(binary.LittleEndian.Uint32(row[4*k:]))
			case quant.F16:
				w = quant.F16ToF32(binary.LittleEndian.Uint16(row[2*k:]))
			case quant.BF16:
				w = quant.BF16ToF32(binary.LittleEndian.Uint16(row[2*k:]))
			}
			p[k%4] = refFMA(w, v, p[k%4])
		}
		return (p[0] + p[2]) + (p[1] + p[3])
	}
	var acc float32
	for b := range len(x) / 32 {
		q, da, s := refQuantize(x[32*b : 32*b+32])
		w, scale, offset, sub, hasOffset := refBlock(t, row, b)
		isum := 0
		for i := range q {
			isum += sub[i/16] * w[i] * q[i]
		}
		acc = refFMA(float32(isum), float32(scale*da), acc)
		if hasOffset {
			acc = refFMA(offset, s, acc)
		}
		if t == quant.Q2_K {
			n, dmin := refLows(row, b, q)
			acc = refFMA(float32(-n), float32(dmin*da), acc)
		}
	}
	return acc
}

func refMatMul(m *Matrix, x []float32, rows int) []float32 {
	y := make([]float32, rows*m.Rows)
	size := len(m.data) / m.Rows
	for t := range rows {
		for r := range m.Rows {
			y[t*m.Rows+r] = refDot(m.Type, m.data[r*size:(r+1)*size], x[t*m.Cols:(t+1)*m.Cols])
		}
	}
	return y
}

// refTree is the tree of halves of 16 partial sums, written out.
func refTree(p [16]float32) float32 {
	a := [8]float32{p[0] + p[8], p[1] + p[9], p[2] + p[10], p[3] + p[11], p[4] + p[12], p[5] + p[13], p[6] + p[14], p[7] + p[15]}
	b := [4]float32{a[0] + a[4], a[1] + a[5], a[2] + a[6], a[3] + a[7]}
	return (b[0] + b[2]) + (b[1] + b[3])
}

func refNorm(x, w []float32, eps float32) []float32 {
	var p [16]float32
	for k, v := range x {
		p[k%16] = refFMA(v, v, p[k%16])
	}
	mean := refTree(p) / float32(len(x))
	r := 1 / float32(math.Sqrt(float64(mean+eps)))
	y := make([]float32, len(x))
	for k, v := range x {
		n := float32(v * r)
		y[k] = float32(n * w[k])
	}
	return y
}

// refExp is §7 with the constants of its table.
func refExp(x float32) float32 {
	f := math.Float32frombits
	switch {
	case x != x:
		return x
	case x > f(0x42b17217):
		return float32(math.Inf(1))
	case x < f(0xc2aeac4f):
		return 0
	}
	n := float32(math.RoundToEven(float64(float32(x * f(0x3fb8aa3b)))))
	r := refFMA(n, -f(0x3f318000), x)
	r = refFMA(n, -f(0xb95e8083), r)
	p := f(0x3ab563a6)
	for _, c := range []float32{f(0x3c091ef0), f(0x3d2aac2c), f(0x3e2aaa46), f(0x3efffffe), 1, 1} {
		p = refFMA(p, r, c)
	}
	return float32(math.Ldexp(float64(p), int(n)))
}

func refSwiGLU(gate, up []float32) []float32 {
	y := make([]float32, len(gate))
	for i, g := range gate {
		den := float32(1 + refExp(-g))
		silu := float32(g / den)
		y[i] = float32(silu * up[i])
	}
	return y
}

// refGeGLU is §8 with the constants it names.
func refGeGLU(gate, up []float32) []float32 {
	y := make([]float32, len(gate))
	for i, g := range gate {
		t := float32(g * g)
		z := float32(g * refFMA(math.Float32frombits(0xbd922279), t, math.Float32frombits(0xbfcc422a)))
		den := float32(1 + refExp(z))
		gelu := float32(g / den)
		y[i] = float32(gelu * up[i])
	}
	return y
}

// refRope is §5 for one head: the pairs of norm style, or of neox style.
func refRope(x, cos, sin []float32, neox bool) []float32 {
	y := make([]float32, len(x))
	for i := range cos {
		a, b := 2*i, 2*i+1
		if neox {
			a, b = i, i+len(x)/2
		}
		ac, bs := float32(x[a]*cos[i]), float32(x[b]*sin[i])
		as, bc := float32(x[a]*sin[i]), float32(x[b]*cos[i])
		y[a], y[b] = ac-bs, as+bc
	}
	return y
}

// refRemainder is what the second plane of §2 holds before it is quantised itself.
func refRemainder(x []float32) []float32 {
	y := make([]float32, len(x))
	for b := 0; b < len(x); b += 32 {
		q, d, _ := refQuantize(x[b : b+32])
		for i := range q {
			taken := float32(d * float32(q[i]))
			y[b+i] = x[b+i] - taken
		}
	}
	return y
}

// refArgMax is §9: the best of all, the first of its equals.
func refArgMax(x []float32) int {
	value := func(i int) float64 {
		if x[i] != x[i] {
			return math.Inf(-1)
		}
		return float64(x[i])
	}
	best := 0
	for i := len(x) - 1; i >= 0; i-- {
		if value(i) >= value(best) {
			best = i
		}
	}
	if len(x) > 0 && math.IsInf(value(best), -1) {
		return 0
	}
	return best
}

// refWeight is §9's weight in a draw.
func refWeight(x, top, temperature float32) float32 {
	if x == top {
		return 1
	}
	below := float32(x - top)
	if w := refExp(float32(below / temperature)); w == w {
		return w
	}
	return 0
}

// refClamped is §8's activation of gpt-oss.
func refClamped(gate, up []float32) []float32 {
	y := make([]float32, len(gate))
	for i, g := range gate {
		u := up[i]
		if g >= 7 {
			g = 7
		}
		if u >= 7 {
			u = 7
		} else if u <= -7 {
			u = -7
		}
		den := float32(1 + refExp(float32(-1.702*g)))
		y[i] = float32(float32(g/den) * float32(u+1))
	}
	return y
}

// refSoftCap is §8.
func refSoftCap(x, limit float32) float32 {
	e := refExp(float32(float32(math.Abs(float64(x))) * float32(-2/limit)))
	t := float32(float32(1-e) / float32(1+e))
	return float32(math.Copysign(float64(float32(limit*t)), float64(x)))
}

// refRoute is §9: experts by value, then index, and the softmax of those chosen.
func refRoute(logits []float32, k int) (chosen []int, shares []float32) {
	value := func(i int) float32 {
		if logits[i] != logits[i] {
			return float32(math.Inf(-1))
		}
		return logits[i]
	}
	for range k {
		best := -1
		for i := range logits {
			if !slices.Contains(chosen, i) && (best < 0 || value(i) > value(best)) {
				best = i
			}
		}
		chosen = append(chosen, best)
	}
	var sum float32
	for _, i := range chosen {
		shares = append(shares, refExp(float32(value(i)-value(chosen[0]))))
		sum += shares[len(shares)-1]
	}
	for i := range shares {
		shares[i] /= sum
	}
	return chosen, shares
}

// variant is what §6 lets a model add to attention.
type variant struct {
	window int      // 0: none
	limit  float32  // of scores; 0: none
	sink   *float32 // nil: none
}

// refAttention is §6 for one query; k and v are what was put, [n][headDim].
func refAttention(q []float32, k, v [][]float32, f16 bool, a variant) []float32 {
	stored := func(x float32) float32 {
		if f16 {
			return quant.F16ToF32(quant.F32ToF16(x))
		}
		return x
	}
	scale := float32(1 / math.Sqrt(float64(len(q))))
	m := float32(math.Inf(-1))
	from := 0
	if a.window > 0 {
		from = max(0, len(k)-a.window)
	}
	e := make([]float32, len(k), len(k)+1)
	for j := from; j < len(k); j++ {
		var s float32
		for d, x := range q {
			s = refFMA(x, stored(k[j][d]), s)
		}
		e[j] = float32(s * scale)
		if a.limit != 0 {
			e[j] = refSoftCap(e[j], a.limit)
		}
	}
	if a.sink != nil {
		e = append(e, *a.sink)
	}
	for _, x := range e[from:] {
		if x > m {
			m = x
		}
	}
	var p [16]float32
	for j := from; j < len(e); j++ {
		e[j] = refExp(float32(e[j] - m))
		p[j%16] += e[j]
	}
	inv := 1 / refTree(p)
	o := make([]float32, len(q))
	for d := range o {
		var s float32
		for j := from; j < len(k); j++ {
			s = refFMA(e[j], stored(v[j][d]), s)
		}
		o[d] = float32(s * inv)
	}
	return o
}
