// SPDX-License-Identifier: MIT

package layers

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"

	"github.com/shardnode/shardnode/internal/kernel"
	"github.com/shardnode/shardnode/internal/quant"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// A panel file holds the packed matrices of a range, so that the next start reads them instead of packing again. It is only of use to a
// program that would write the same head, and the head says how long the file is: nothing in it is taken on trust.
//
//	head     what the panels are of, see [panelFile.appendHead]; filled up to whole pages
//	panels   those of all matrices, in the order of loading
//	sums     the CRC-32C of each piece of each matrix's panels, little-endian
//	sum      the CRC-32C of the sums
const (
	panelMagic = "shardnode panels 1\n" // with the file's version; that of the panels is in the layout
	panelPage  = 4096
	panelPiece = 1 << 20 // what is read, checked and written at a time
	sumBytes   = crc32.Size
)

var panelTable = crc32.MakeTable(crc32.Castagnoli)

// ErrOtherPanels says that a panel file is not what loading would make: it is of another model or range, or a program or processor that
// lays weights out in another way wrote it.
var ErrOtherPanels = errors.New("the packed weights are of another model or range, or laid out in another way")

// Panels is a panel file, written by [Model.WritePanels], for [Options.Panels].
type Panels struct {
	Model protocol.ModelID // of the model that is loaded
	File  io.ReaderAt
	Size  int64 // bytes of the file
}

// panelMatrix is a packed matrix of a range.
type panelMatrix struct {
	name       string
	typ        quant.Type
	rows, cols int
	bytes      int64          // of its panels
	matrix     *kernel.Matrix // nil until loaded
}

func (m *panelMatrix) pieces() int { return int((m.bytes + panelPiece - 1) / panelPiece) }

// panelFile is the shape of a panel file: what it has where.
type panelFile struct {
	matrices []panelMatrix
	head     []byte
	pieces   int   // of all matrices
	sumsAt   int64 // offset of the sums
}

func newPanelFile(model protocol.ModelID, layout [32]byte, r protocol.LayerRange, matrices []panelMatrix) *panelFile {
	f := &panelFile{matrices: matrices}
	f.appendHead(model, layout, r)
	f.sumsAt = int64(len(f.head))
	for i := range matrices {
		f.pieces += matrices[i].pieces()
		f.sumsAt += matrices[i].bytes
	}
	return f
}

// size is the bytes of the file.
func (f *panelFile) size() int64 { return f.sumsAt + int64(f.pieces+1)*sumBytes }

// appendHead writes everything that the panels depend on.
func (f *panelFile) appendHead(model protocol.ModelID, layout [32]byte, r protocol.LayerRange) {
	b := append([]byte(panelMagic), model[:]...)
	b = append(b, layout[:]...)
	for _, n := range []int{panelPiece, r.From, r.To, len(f.matrices)} {
		b = binary.LittleEndian.AppendUint64(b, uint64(n))
	}
	for i := range f.matrices {
		m := &f.matrices[i]
		for _, n := range []int{int(m.typ), m.rows, m.cols, len(m.name)} {
			b = binary.LittleEndian.AppendUint64(b, uint64(n))
		}
		b = append(b, m.name...)
	}
	f.head = append(b, make([]byte, (panelPage-len(b)%panelPage)%panelPage)...)
}

// panelReader reads a panel file, matrix by matrix.
type panelReader struct {
	*panelFile
	src  io.ReaderAt
	sums []byte
	next int   // matrix
	at   int64 // its offset
	sum  int   // its first piece
}

// open checks that p is the file, but for the panels themselves.
func (f *panelFile) open(p *Panels) (*panelReader, error) {
	head := make([]byte, min(int64(len(f.head)), max(p.Size, 0)))
	if err := readFull(p.File, head, 0); err != nil {
		return nil, err
	}
	if !bytes.Equal(head, f.head) {
		return nil, ErrOtherPanels
	}
	if p.Size != f.size() {
		return nil, fmt.Errorf("the packed weights are damaged: %d bytes instead of %d", p.Size, f.size())
	}
	sums := make([]byte, (f.pieces+1)*sumBytes)
	if err := readFull(p.File, sums, f.sumsAt); err != nil {
		return nil, err
	}
	sums, sum := sums[:f.pieces*sumBytes], sums[f.pieces*sumBytes:]
	if crc32.Checksum(sums, panelTable) != binary.LittleEndian.Uint32(sum) {
		return nil, errors.New("the packed weights are damaged: their checksums are")
	}
	return &panelReader{panelFile: f, src: p.File, sums: sums, at: int64(len(f.head))}, nil
}

// readFull reads all of b. A file that ends early has been cut off since it was opened.
func readFull(f io.ReaderAt, b []byte, at int64) error {
	if n, err := f.ReadAt(b, at); n < len(b) {
		return fmt.Errorf("read the packed weights: %w", err)
	}
	return nil
}

// piecesAtOnce is how many pieces are read between two looks at whether to stop.
const piecesAtOnce = 16

// read fills dst, the panels of the next matrix, on all threads of the pool, unless stopped returns an error.
func (r *panelReader) read(pool *kernel.Pool, dst []byte, stopped func() error) error {
	m := &r.matrices[r.next]
	if int64(len(dst)) != m.bytes {
		panic(fmt.Sprintf("layers: panels of %d bytes for %q, which has %d", len(dst), m.name, m.bytes))
	}
	var mu sync.Mutex
	var failed error // guarded by mu
	for first := 0; first < m.pieces(); first += piecesAtOnce {
		n := min(piecesAtOnce, m.pieces()-first)
		pool.Run(n, func(_, i int) {
			if err := r.readPiece(dst, first+i); err != nil {
				mu.Lock()
				failed = err
				mu.Unlock()
			}
		})
		if failed == nil {
			failed = stopped()
		}
		if failed != nil {
			return failed
		}
	}
	r.next++
	r.at += m.bytes
	r.sum += m.pieces()
	return nil
}

func (r *panelReader) readPiece(dst []byte, i int) error {
	b := dst[i*panelPiece : min(len(dst), (i+1)*panelPiece)]
	if err := readFull(r.src, b, r.at+int64(i)*panelPiece); err != nil {
		return err
	}
	if crc32.Checksum(b, panelTable) != binary.LittleEndian.Uint32(r.sums[(r.sum+i)*sumBytes:]) {
		return fmt.Errorf("the packed weights are damaged: the checksum of %q is another", r.matrices[r.next].name)
	}
	return nil
}

// PanelBytes returns the size of what [Model.WritePanels] writes: 0 where matrices are not packed.
func (m *Model) PanelBytes() int64 {
	if len(m.packed) == 0 {
		return 0
	}
	return m.panelFile(protocol.ModelID{}).size()
}

func (m *Model) panelFile(id protocol.ModelID) *panelFile {
	return newPanelFile(id, m.pool.PanelLayout(), m.layers, m.packed)
}

// PanelsErr returns why loading packed the weights although it was given [Options.Panels]: it wraps [ErrOtherPanels], or says what is wrong
// with the file. It is nil if the weights are from there, and if none were given.
func (m *Model) PanelsErr() error { return m.panelsErr }

// WritePanels writes the model's packed weights, for [Options.Panels]. It may run beside Forward.
func (m *Model) WritePanels(w io.Writer, id protocol.ModelID) error {
	f := m.panelFile(id)
	if _, err := w.Write(f.head); err != nil {
		return fmt.Errorf("write packed weights: %w", err)
	}
	var sums []byte
	for i := range f.matrices {
		for b := f.matrices[i].matrix.Panels(); len(b) > 0; {
			piece := b[:min(len(b), panelPiece)]
			b = b[len(piece):]
			sums = binary.LittleEndian.AppendUint32(sums, crc32.Checksum(piece, panelTable))
			if _, err := w.Write(piece); err != nil {
				return fmt.Errorf("write packed weights: %w", err)
			}
		}
	}
	sums = binary.LittleEndian.AppendUint32(sums, crc32.Checksum(sums, panelTable))
	if _, err := w.Write(sums); err != nil {
		return fmt.Errorf("write packed weights: %w", err)
	}
	return nil
}
