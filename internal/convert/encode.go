// SPDX-License-Identifier: MIT

package convert

import (
	"context"
	"fmt"
	"io"
	"math"

	"golang.org/x/sync/errgroup"

	"github.com/shardnode/shardnode/internal/quant"
)

// Encoder quantises rows on several threads and writes them in order. The bytes do not depend on the number of threads.
type Encoder struct {
	Threads  int               // 0: 1
	Progress func(bytes int64) // called after each write with its size; nil: silent
}

// Loss is what encoding cost. Add up the losses of tensors with [Loss.Add].
type Loss struct {
	errors, squares float64 // Σ (encoded - value)², Σ value²
}

// Relative is the root mean square of the errors over that of the values; 0 of nothing.
func (l Loss) Relative() float64 {
	if l.squares == 0 {
		return 0
	}
	return math.Sqrt(l.errors / l.squares)
}

// Add adds the loss of other values.
func (l *Loss) Add(o Loss) {
	l.errors += o.errors
	l.squares += o.squares
}

// partElems is about how many elements one goroutine takes at a time.
const partElems = 1 << 16

// part is a run of rows in work.
type part struct {
	values, back []float32 // [rows][cols]
	blocks       []byte
	loss         Loss
}

// Encode writes rows of cols elements as type t. fill sets a row's values; it is called for several rows at once.
func (e *Encoder) Encode(ctx context.Context, w io.Writer, t quant.Type, cols, rows int, fill func(row int, dst []float32) error) (Loss, error) {
	size, err := quant.RowBytes(t, cols)
	if err != nil {
		return Loss{}, err
	}
	each := max(1, partElems/cols)
	parts := make([]part, max(1, e.Threads))
	for i := range parts {
		parts[i] = part{values: make([]float32, each*cols), back: make([]float32, each*cols), blocks: make([]byte, each*size)}
	}
	var total Loss
	for from := 0; from < rows; {
		if err := ctx.Err(); err != nil {
			return Loss{}, err
		}
		var group errgroup.Group
		begin, used := from, 0
		for ; used < len(parts) && from < rows; used++ {
			p, first, n := &parts[used], from, min(each, rows-from)
			p.values, p.back, p.blocks = p.values[:n*cols], p.back[:n*cols], p.blocks[:n*size]
			group.Go(func() error { return p.encode(t, first, cols, fill) })
			from += n
		}
		if err := group.Wait(); err != nil {
			return Loss{}, fmt.Errorf("rows from %d on: %w", begin, err)
		}
		for i := range parts[:used] {
			if _, err := w.Write(parts[i].blocks); err != nil {
				return Loss{}, err
			}
			total.Add(parts[i].loss)
			if e.Progress != nil {
				e.Progress(int64(len(parts[i].blocks)))
			}
		}
	}
	return total, nil
}

func (p *part) encode(t quant.Type, first, cols int, fill func(int, []float32) error) error {
	for i := 0; i < len(p.values); i += cols {
		if err := fill(first+i/cols, p.values[i:i+cols]); err != nil {
			return err
		}
	}
	if err := quant.Quantize(t, p.blocks, p.values); err != nil {
		return err
	}
	if err := quant.Dequantize(t, p.back, p.blocks); err != nil {
		return err
	}
	p.loss = Loss{}
	for i, v := range p.values {
		d := float64(p.back[i]) - float64(v)
		p.loss.errors += float64(d * d)
		p.loss.squares += float64(float64(v) * float64(v))
	}
	if math.IsNaN(p.loss.errors) || math.IsInf(p.loss.errors, 0) {
		return fmt.Errorf("values are too large for %s, or not finite: choose a wider type such as bf16", t)
	}
	return nil
}
