// SPDX-License-Identifier: MIT

package kernel

// packedRows is the number of weight rows whose products share one integer multiplication: three signed sums of 21 bits in an
// int64. The largest sum of a block, 32·128·127, fits.
const (
	packedRows = 3
	packedBits = 21
)

// quantRow computes weight row r for the n activation rows from t on: docs/numerics.md §2.
func (j *matMulJob) quantRow(r, t, n int) {
	var acc [actTile]float32
	var span [spanBlocks]weightBlock
	row, blocks, form := j.m.row(r), j.m.Cols/actBlock, formOf(j.m.Type)
	for first := 0; first < blocks; first += spanBlocks {
		decode(&span, j.m.Type, row, first, min(spanBlocks, blocks-first))
		for b := range min(spanBlocks, blocks-first) {
			w := &span[b]
			at := (first+b)*j.a.rows + t
			q, d, s := j.a.q[at*actBlock:], j.a.d[at:][:n], j.a.s[at:][:n]
			for i := range n {
				x := (*[actBlock]int8)(q[i*actBlock:])
				lo, hi := dot16((*[16]byte)(w.q[:16]), (*[16]int8)(x[:16])), dot16((*[16]byte)(w.q[16:]), (*[16]int8)(x[16:]))
				if form.halves {
					lo, hi = lo*w.sub[0], hi*w.sub[1]
				}
				acc[i] = FMA(float32(lo+hi), float32(w.d*d[i]), acc[i])
				switch {
				case form.offset:
					acc[i] = FMA(w.m, s[i], acc[i])
				case form.lows:
					acc[i] = w.addLows(acc[i], j.a.sum[(first+b)*j.a.rows*sums+t+i:], j.a.rows, d[i])
				}
			}
		}
	}
	for i := range n {
		j.dst[(t+i)*j.m.Rows+r] = acc[i]
	}
}

// addLows takes what the lows of both halves amount to from acc; sum has the negative sums of q, parts of a block rows apart.
func (w *weightBlock) addLows(acc float32, sum []int32, rows int, d float32) float32 {
	n := w.low[0]*sum[rows] + w.low[1]*sum[2*rows]
	return FMA(float32(n), float32(w.m*d), acc)
}

// dot16 is the exact integer product of half a block.
func dot16(w *[16]byte, x *[16]int8) int32 {
	s0 := int32(int8(w[0]))*int32(x[0]) + int32(int8(w[4]))*int32(x[4]) + int32(int8(w[8]))*int32(x[8]) + int32(int8(w[12]))*int32(x[12])
	s1 := int32(int8(w[1]))*int32(x[1]) + int32(int8(w[5]))*int32(x[5]) + int32(int8(w[9]))*int32(x[9]) + int32(int8(w[13]))*int32(x[13])
	s2 := int32(int8(w[2]))*int32(x[2]) + int32(int8(w[6]))*int32(x[6]) + int32(int8(w[10]))*int32(x[10]) + int32(int8(w[14]))*int32(x[14])
	s3 := int32(int8(w[3]))*int32(x[3]) + int32(int8(w[7]))*int32(x[7]) + int32(int8(w[11]))*int32(x[11]) + int32(int8(w[15]))*int32(x[15])
	return s0 + s1 + s2 + s3
}

// packedRows computes weight rows r to r+2 for the n activation rows from t on, with the same sums as quantRow.
func (j *matMulJob) packedRows(r, t, n int) {
	var acc [actTile][packedRows]float32
	var span [packedRows][spanBlocks]weightBlock
	var packed [actBlock]int64
	blocks, form := j.m.Cols/actBlock, formOf(j.m.Type)
	for first := 0; first < blocks; first += spanBlocks {
		for k := range span {
			decode(&span[k], j.m.Type, j.m.row(r+k), first, min(spanBlocks, blocks-first))
		}
		for b := range min(spanBlocks, blocks-first) {
			w0, w1, w2 := &span[0][b], &span[1][b], &span[2][b]
			for i := range packed {
				packed[i] = int64(int8(w0.q[i])) + int64(int8(w1.q[i]))<<packedBits + int64(int8(w2.q[i]))<<(2*packedBits)
			}
			at := (first+b)*j.a.rows + t
			q, d, s := j.a.q[at*actBlock:], j.a.d[at:][:n], j.a.s[at:][:n]
			for i := range n {
				x := (*[actBlock]int8)(q[i*actBlock:])
				lo, hi := dotPacked((*[16]int64)(packed[:16]), (*[16]int8)(x[:16])), dotPacked((*[16]int64)(packed[16:]), (*[16]int8)(x[16:]))
				var s0, s1, s2 int32
				if form.halves {
					l0, l1, l2 := unpack(lo)
					h0, h1, h2 := unpack(hi)
					s0, s1, s2 = l0*w0.sub[0]+h0*w0.sub[1], l1*w1.sub[0]+h1*w1.sub[1], l2*w2.sub[0]+h2*w2.sub[1]
				} else {
					s0, s1, s2 = unpack(lo + hi)
				}
				y := &acc[i]
				y[0] = FMA(float32(s0), float32(w0.d*d[i]), y[0])
				y[1] = FMA(float32(s1), float32(w1.d*d[i]), y[1])
				y[2] = FMA(float32(s2), float32(w2.d*d[i]), y[2])
				switch {
				case form.offset:
					y[0] = FMA(w0.m, s[i], y[0])
					y[1] = FMA(w1.m, s[i], y[1])
					y[2] = FMA(w2.m, s[i], y[2])
				case form.lows:
					sum := j.a.sum[(first+b)*j.a.rows*sums+t+i:]
					y[0] = w0.addLows(y[0], sum, j.a.rows, d[i])
					y[1] = w1.addLows(y[1], sum, j.a.rows, d[i])
					y[2] = w2.addLows(y[2], sum, j.a.rows, d[i])
				}
			}
		}
	}
	for i := range n {
		copy(j.dst[(t+i)*j.m.Rows+r:], acc[i][:])
	}
}

// dotPacked is dot16 for packed rows.
func dotPacked(w *[16]int64, x *[16]int8) int64 {
	s0 := w[0]*int64(x[0]) + w[4]*int64(x[4]) + w[8]*int64(x[8]) + w[12]*int64(x[12])
	s1 := w[1]*int64(x[1]) + w[5]*int64(x[5]) + w[9]*int64(x[9]) + w[13]*int64(x[13])
	s2 := w[2]*int64(x[2]) + w[6]*int64(x[6]) + w[10]*int64(x[10]) + w[14]*int64(x[14])
	s3 := w[3]*int64(x[3]) + w[7]*int64(x[7]) + w[11]*int64(x[11]) + w[15]*int64(x[15])
	return s0 + s1 + s2 + s3
}

// unpack splits a packed sum: each part is the signed low 21 bits of what the parts before it leave.
func unpack(sum int64) (s0, s1, s2 int32) {
	const high = 64 - packedBits
	a := sum << high >> high
	sum = (sum - a) >> packedBits
	b := sum << high >> high
	return int32(a), int32(b), int32((sum - b) >> packedBits)
}
