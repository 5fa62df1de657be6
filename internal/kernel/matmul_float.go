// SPDX-License-Identifier: MIT

package kernel

import (
	"encoding/binary"
	"math"

	"github.com/shardnode/shardnode/internal/quant"
)

// floatSpan is the number of weights that are converted at a time, a multiple of the four partial sums.
const floatSpan = 256

// floatRow computes weight row r for the n activation rows from t on: docs/numerics.md §3.
func (j *matMulJob) floatRow(r, t, n int) {
	var sums [actTile][4]float32
	var w [floatSpan]float32
	row, cols := j.m.row(r), j.m.Cols
	for k := 0; k < cols; k += floatSpan {
		span := w[:min(floatSpan, cols-k)]
		floats(span, j.m.Type, row, k)
		for i := range n {
			dotFloat(&sums[i], span, j.a.x[(t+i)*cols+k:])
		}
	}
	for i := range n {
		p := &sums[i]
		j.dst[(t+i)*j.m.Rows+r] = (p[0] + p[2]) + (p[1] + p[3])
	}
}

// dotFloat adds the products of w and x to the partial sums, the k-th to sum k mod 4.
func dotFloat(sums *[4]float32, w, x []float32) {
	x = x[:len(w)]
	p0, p1, p2, p3 := sums[0], sums[1], sums[2], sums[3]
	for len(w) >= 4 && len(x) >= 4 {
		s0, s1 := float64(w[0])*float64(x[0])+float64(p0), float64(w[1])*float64(x[1])+float64(p1)
		s2, s3 := float64(w[2])*float64(x[2])+float64(p2), float64(w[3])*float64(x[3])+float64(p3)
		if undecided(s0) || undecided(s1) || undecided(s2) || undecided(s3) {
			p0, p1, p2, p3 = FMA(w[0], x[0], p0), FMA(w[1], x[1], p1), FMA(w[2], x[2], p2), FMA(w[3], x[3], p3)
		} else {
			p0, p1, p2, p3 = float32(s0), float32(s1), float32(s2), float32(s3)
		}
		w, x = w[4:], x[4:]
	}
	*sums = [4]float32{p0, p1, p2, p3}
	for i, v := range w {
		sums[i] = FMA(v, x[i], sums[i])
	}
}

// floats converts the weights of row from column k on.
func floats(dst []float32, t quant.Type, row []byte, k int) {
	switch t {
	case quant.F32:
		row = row[4*k:][:4*len(dst)]
		for i := range dst {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(row[4*i:]))
		}
	case quant.F16:
		row = row[2*k:][:2*len(dst)]
		for i := range dst {
			dst[i] = quant.F16ToF32(binary.LittleEndian.Uint16(row[2*i:]))
		}
	case quant.BF16:
		row = row[2*k:][:2*len(dst)]
		for i := range dst {
			dst[i] = quant.BF16ToF32(binary.LittleEndian.Uint16(row[2*i:]))
		}
	}
}
