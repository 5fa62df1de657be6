// SPDX-License-Identifier: MIT

package kernel

import (
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"

	"github.com/shardnode/shardnode/internal/quant"
)

// The matrix of each type whose panels stand for the layout: two super-blocks, and a second panel that is not full.
const (
	layoutRows = panelRows + 5
	layoutCols = 2 * quant.SuperBlock
)

// PanelLayout returns a fingerprint of the panels that the pool makes: pools of two programs or paths with the same one make the same panels
// of the same weights. It is the hash of the panels of a certain matrix of each type, so that no change can be forgotten.
func (p *Pool) PanelLayout() [sha256.Size]byte {
	h, random := sha256.New(), rand.NewChaCha8([32]byte{})
	for t := quant.Type(0); t <= quant.Last; t++ {
		rowBytes, err := quant.RowBytes(t, layoutCols)
		if err != nil || tilesOf(p.path, t) == nil {
			continue
		}
		data := make([]byte, layoutRows*rowBytes)
		_, _ = random.Read(data) // cannot fail
		m := &Matrix{Type: t, Rows: layoutRows, Cols: layoutCols, rowBytes: rowBytes, data: data}
		packed := &Matrix{Type: t, Rows: layoutRows, Cols: layoutCols, rowBytes: rowBytes, panels: make([]byte, panelsOf(layoutRows)*panelRows*rowBytes)}
		p.PackRows(packed, m, 0, layoutRows)
		h.Write(binary.LittleEndian.AppendUint32(nil, uint32(t)))
		h.Write(packed.panels)
	}
	return [sha256.Size]byte(h.Sum(nil))
}
