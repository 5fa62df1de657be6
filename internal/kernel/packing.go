// SPDX-License-Identifier: MIT

package kernel

import (
	"fmt"

	"github.com/shardnode/shardnode/internal/quant"
)

// PackRowsStep is what the first row of a call of [Pool.PackRows] is a multiple of.
const PackRowsStep = panelRows

// PackedBytes returns the memory that [Pool.Pack] takes for a matrix on the path in use, or 0 where the path has no use for panels.
func PackedBytes(t quant.Type, rows, cols int) (int64, error) {
	rowBytes, err := quant.RowBytes(t, cols)
	if err != nil || tilesOf(active, t) == nil {
		return 0, err
	}
	return int64(panelsOf(rows)) * panelRows * int64(rowBytes), nil
}

func panelsOf(rows int) int { return (rows + panelRows - 1) / panelRows }

// NewPacked returns a matrix like m in panels that are to be filled, by [Pool.PackRows] or by way of [Matrix.Panels], before it is used.
// Where the path has no use for panels, it returns m.
func (p *Pool) NewPacked(m *Matrix, mem *Memory) (*Matrix, error) {
	t := tilesOf(p.path, m.Type)
	if t == nil || m.panels != nil {
		return m, nil
	}
	b, err := mem.alloc(panelsOf(m.Rows) * panelRows * m.rowBytes)
	if err != nil {
		return nil, err
	}
	format, _ := quant.Lookup(m.Type)
	return &Matrix{Type: m.Type, Rows: m.Rows, Cols: m.Cols, rowBytes: m.rowBytes, panels: b, tiles: t, steps: m.Cols / format.BlockElems}, nil
}

// PackRows writes rows of m, from a multiple of [PackRowsStep] on to before row to, to a matrix that [Pool.NewPacked] has made for it. To
// is a multiple too, or the end. It uses all threads of the pool.
func (p *Pool) PackRows(packed, m *Matrix, from, to int) {
	if from%panelRows != 0 || from < 0 || from > to || to > m.Rows || to < m.Rows && to%panelRows != 0 || packed.Rows != m.Rows || packed.rowBytes != m.rowBytes {
		panic(fmt.Sprintf("kernel: packing rows %d to %d of %dx%d into %dx%d", from, to, m.Rows, m.Cols, packed.Rows, packed.Cols))
	}
	size := panelRows * m.rowBytes
	first := from / panelRows
	p.Run(panelsOf(to-from), func(_, i int) {
		panel := first + i
		m.packPanel(packed.panels[panel*size:][:size], panel*panelRows)
	})
}

// Panels returns the panels' bytes; nil of a matrix that is not packed.
func (m *Matrix) Panels() []byte { return m.panels }
