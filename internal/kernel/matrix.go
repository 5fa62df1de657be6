// SPDX-License-Identifier: MIT

package kernel

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/shardnode/shardnode/internal/quant"
)

// Matrix is a weight matrix in the block format of its type or, after [Pool.Pack], in panels. It is immutable.
type Matrix struct {
	Type quant.Type
	Rows int // output features
	Cols int // input features: the length of an activation row

	rowBytes int
	data     []byte // [Rows][rowBytes], not owned; nil where packed

	// Where packed:
	panels []byte // [Rows/16, rounded up][16·rowBytes], not owned
	tiles  *tiles
	steps  int // blocks of a row
}

// NewMatrix describes data, which is kept and must not change, as a matrix: rows of cols elements in t's blocks.
func NewMatrix(t quant.Type, rows, cols int, data []byte) (*Matrix, error) {
	if rows <= 0 || cols <= 0 {
		return nil, fmt.Errorf("matrix of %d rows and %d columns: both must be positive", rows, cols)
	}
	rowBytes, err := quant.RowBytes(t, cols)
	if err != nil {
		return nil, fmt.Errorf("matrix of %d rows and %d columns: %w", rows, cols, err)
	}
	if rows > math.MaxInt/rowBytes || len(data) != rows*rowBytes {
		return nil, fmt.Errorf("matrix of %d rows and %d columns of %v: %d bytes of data instead of %d a row", rows, cols, t, len(data), rowBytes)
	}
	return &Matrix{Type: t, Rows: rows, Cols: cols, rowBytes: rowBytes, data: data}, nil
}

// Bytes returns the size of the weights.
func (m *Matrix) Bytes() int64 { return int64(len(m.data) + len(m.panels)) }

// Dequantized returns the matrix as F32, for computing without rounding of activations; it must not be packed. An F32 matrix is returned as it is.
func (m *Matrix) Dequantized() *Matrix {
	if m.Type == quant.F32 {
		return m
	}
	row := make([]float32, m.Cols)
	data := make([]byte, 0, 4*m.Rows*m.Cols)
	for r := range m.Rows {
		m.EmbedRow(row, r)
		for _, w := range row {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(w))
		}
	}
	return &Matrix{Type: quant.F32, Rows: m.Rows, Cols: m.Cols, rowBytes: 4 * m.Cols, data: data}
}

// EmbedRow dequantises one row into dst, of length Cols. The matrix must not be packed.
func (m *Matrix) EmbedRow(dst []float32, row int) {
	if err := quant.Dequantize(m.Type, dst[:m.Cols], m.row(row)); err != nil {
		panic(err) // NewMatrix has checked type and size
	}
}

// row returns the blocks of one row.
func (m *Matrix) row(r int) []byte { return m.data[r*m.rowBytes:][:m.rowBytes] }
