// SPDX-License-Identifier: MIT

package layers

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/shardnode/shardnode/internal/kernel"
	"github.com/shardnode/shardnode/internal/quant"
	"github.com/shardnode/shardnode/pkg/gguf"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// Load makes a range of layers ready. Matrices refer to the file's bytes, which must stay mapped as long as the model lives, or are
// copies of them: as the processor's kernels want them, or as F32. The pages of what was copied are given back as loading goes on, so
// that the range never is in memory twice; tensors of other layers are never touched.
func Load(f *gguf.File, cfg *Config, r protocol.LayerRange, opt Options) (*Model, error) {
	return LoadContext(context.Background(), f, cfg, r, opt)
}

// LoadContext is [Load] that stops soon after ctx ends.
func LoadContext(ctx context.Context, f *gguf.File, cfg *Config, r protocol.LayerRange, opt Options) (*Model, error) {
	plan, err := planLoad(f, cfg, r, opt)
	if err != nil {
		return nil, err
	}
	m, err := newModel(cfg, r, opt)
	if err != nil {
		return nil, err
	}
	l := &loader{file: f, f32: opt.F32, progress: opt.Progress, total: plan.total, stopped: ctx.Err, pool: m.pool, memory: &m.memory}
	if opt.Panels != nil && len(plan.matrices) > 0 {
		l.panels, m.panelsErr = newPanelFile(opt.Panels.Model, m.pool.PanelLayout(), r, plan.matrices).open(opt.Panels)
	}
	if l.err = m.memory.Reserve(plan.packed); l.err == nil {
		m.load(l)
	}
	if l.err != nil {
		m.Close()
		return nil, fmt.Errorf("load layers %s: %w", r, l.err)
	}
	for _, t := range l.copied { // a fault near a tensor may have mapped parts of it again
		f.Release(t)
	}
	m.bytes, m.packed = l.held, l.matrices
	if l.panelsErr != nil {
		m.panelsErr = l.panelsErr
	}
	return m, nil
}

// newModel returns a model without weights.
func newModel(cfg *Config, r protocol.LayerRange, opt Options) (*Model, error) {
	m := &Model{cfg: *cfg, layers: r, f32: opt.F32, now: opt.Now, scale: float32(1 / math.Sqrt(float64(cfg.HeadDim)))}
	if m.now == nil {
		m.now = time.Now
	}
	switch {
	case opt.F32 && (opt.KV == 0 || opt.KV == protocol.F32), opt.KV == protocol.F32:
		m.kvType = quant.F32
	case opt.F32:
		return nil, fmt.Errorf("KV cache of type %s in the all-F32 mode: want f32", opt.KV)
	case opt.KV == 0 || opt.KV == protocol.F16:
		m.kvType = quant.F16
	default:
		return nil, fmt.Errorf("KV cache of type %s: want f16 or f32", opt.KV)
	}
	if _, err := kernel.NewKVHead(m.kvType, 1, cfg.HeadDim); err != nil {
		return nil, fmt.Errorf("load layers %s: %w", r, err)
	}
	m.pool = kernel.NewPool(max(1, opt.Threads))
	m.newScratch()
	return m, nil
}

// load takes each tensor that the range needs.
func (m *Model) load(l *loader) {
	c := &m.cfg
	if m.First() {
		m.embedding = l.embedding("token_embd.weight", c.Vocab, c.Hidden)
	}
	for i := m.layers.From; i < m.layers.To; i++ {
		m.blocks = append(m.blocks, l.llamaBlock(c, i))
	}
	if m.Last() {
		m.norm = l.vector("output_norm.weight", c.Hidden)
		m.head = l.matrix(headTensor(l.file), c.Vocab, c.Hidden)
	}
	var factors []float32
	if _, ok := l.file.Tensor(ropeFactors); ok {
		factors = l.vector(ropeFactors, c.RopeDim/2)
	}
	if l.err == nil && !l.planning {
		m.rope, l.err = kernel.NewRope(c.RopeDim, c.RopeBase, factors, c.RopeScale)
	}
}

func (l *loader) llamaBlock(c *Config, i int) llamaWeights {
	name := func(s string) string { return blockTensor(i, s) }
	heads, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	return llamaWeights{
		attnNorm: l.vector(name("attn_norm"), c.Hidden),
		q:        l.matrix(name("attn_q"), heads, c.Hidden),
		k:        l.matrix(name("attn_k"), kv, c.Hidden),
		v:        l.matrix(name("attn_v"), kv, c.Hidden),
		o:        l.matrix(name("attn_output"), c.Hidden, heads),
		ffnNorm:  l.vector(name("ffn_norm"), c.Hidden),
		gate:     l.matrix(name("ffn_gate"), c.FFN, c.Hidden),
		up:       l.matrix(name("ffn_up"), c.FFN, c.Hidden),
		down:     l.matrix(name("ffn_down"), c.Hidden, c.FFN),
	}
}

// loader takes tensors from a file and keeps the first error. Planning, it only adds up what loading will take.
type loader struct {
	file     *gguf.File
	f32      bool
	planning bool
	pool     *kernel.Pool
	memory   *kernel.Memory // of packed matrices
	stopped  func() error   // returns why loading is to stop; nil when planning
	progress func(done, total int64)

	panels    *panelReader // nil: pack
	panelsErr error        // why panels are not read any more
	matrices  []panelMatrix

	embedded string // the tensor that the embedding refers to
	copied   []*gguf.Tensor
	held     int64 // bytes of weights, mapped or in memory of their own
	packed   int64 // of them in the packed matrices' memory
	read     int64 // bytes of the file made ready
	total    int64
	err      error
}

// tensor finds a tensor of the given shape, in GGUF's order: the row length first.
func (l *loader) tensor(name string, want ...int) *gguf.Tensor {
	if l.err == nil && l.stopped != nil {
		l.err = l.stopped()
	}
	if l.err != nil {
		return nil
	}
	t, ok := l.file.Tensor(name)
	switch {
	case !ok:
		l.err = missing(name)
	case !sameShape(t.Dims, want):
		l.err = fmt.Errorf("tensor %q has the shape %s, the model's configuration wants %s: the file is damaged or was converted wrongly",
			name, shape(t.Dims), shape(want))
	default:
		if _, ok := quant.Lookup(t.Type); ok {
			return t
		}
		l.err = fmt.Errorf("tensor %q has the type %s, which is not supported: use a file of another quantisation, such as Q4_K_M or Q8_0", name, t.Type)
	}
	return nil
}

// sameShape compares shapes; trailing dimensions of one do not count.
func sameShape(dims []uint64, want []int) bool {
	for len(dims) > len(want) && dims[len(dims)-1] == 1 {
		dims = dims[:len(dims)-1]
	}
	return slices.EqualFunc(dims, want, func(a uint64, b int) bool { return a == uint64(b) })
}

func shape[T uint64 | int](dims []T) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(dims), " ", " x "), "[]")
}

// embedding refers to the file's bytes, in every mode: of its pages, those of the tokens met come into memory.
func (l *loader) embedding(name string, rows, cols int) *kernel.Matrix {
	t, m := l.original(name, rows, cols)
	if m != nil {
		l.embedded = name
		l.held += int64(t.Size)
		l.made(int64(t.Size))
	}
	return m
}

// matrix is a factor of matrix products.
func (l *loader) matrix(name string, rows, cols int) *kernel.Matrix {
	t, m := l.original(name, rows, cols)
	if m == nil {
		return nil
	}
	shared := name == l.embedded // the file's bytes have been counted, and stay mapped
	typ, held := t.Type, int64(t.Size)
	if l.f32 && typ != quant.F32 {
		typ, held, shared = quant.F32, int64(4*rows*cols), false
	}
	packed, err := kernel.PackedBytes(typ, rows, cols)
	if err != nil {
		l.err = fmt.Errorf("tensor %q: %w", name, err)
		return nil
	}
	switch {
	case packed > 0:
		l.held += packed
		l.packed += kernel.MemoryBytes(packed)
		l.matrices = append(l.matrices, panelMatrix{name: name, typ: typ, rows: rows, cols: cols, bytes: packed})
	case !shared:
		l.held += held
	}
	if l.planning {
		return nil
	}
	return l.ready(t, m)
}

// ready returns a matrix as products want it.
func (l *loader) ready(t *gguf.Tensor, original *kernel.Matrix) *kernel.Matrix {
	m := original
	if l.f32 {
		m = original.Dequantized()
	}
	packed, err := l.pool.NewPacked(m, l.memory)
	switch {
	case err != nil:
		l.err = fmt.Errorf("tensor %q: %w", t.Name, err)
		return nil
	case packed != m:
		if !l.unpacked(t, packed) {
			l.pack(t, packed, m)
		}
		l.matrices[len(l.matrices)-1].matrix = packed
	case t.Name != l.embedded:
		l.made(int64(t.Size))
	}
	if packed != original { // of an embedding, the pages of the tokens met come back
		l.copied = append(l.copied, t)
		l.file.Release(t)
	}
	return packed
}

// unpacked fills a matrix from the panel file. It reports whether that is done, or loading has stopped; from the first panels that are
// not right on, matrices are packed.
func (l *loader) unpacked(t *gguf.Tensor, packed *kernel.Matrix) bool {
	if l.panels == nil {
		return false
	}
	err := l.panels.read(l.pool, packed.Panels(), l.stopped)
	if l.err = l.stopped(); l.err != nil {
		return true
	}
	if err != nil {
		clear(packed.Panels()) // packing leaves out rows that only fill a panel up
		l.panels, l.panelsErr = nil, err
		return false
	}
	if t.Name != l.embedded {
		l.made(int64(t.Size))
	}
	return true
}

// packPiece is about how many bytes of a tensor are packed before their pages are given back.
const packPiece = 16 << 20

// pack repacks m, which is the tensor t or a copy of it.
func (l *loader) pack(t *gguf.Tensor, packed, m *kernel.Matrix) {
	row := int(t.Size) / m.Rows
	step := max(1, packPiece/row/kernel.PackRowsStep) * kernel.PackRowsStep
	for from := 0; from < m.Rows && l.err == nil; from += step {
		to := min(from+step, m.Rows)
		l.pool.PackRows(packed, m, from, to)
		l.file.ReleasePart(t, uint64(from*row), uint64(to*row))
		if t.Name != l.embedded {
			l.made(int64((to - from) * row))
		}
		l.err = l.stopped()
	}
}

// original is the matrix as the file has it.
func (l *loader) original(name string, rows, cols int) (*gguf.Tensor, *kernel.Matrix) {
	t := l.tensor(name, cols, rows)
	if t == nil {
		return nil, nil
	}
	m, err := kernel.NewMatrix(t.Type, rows, cols, l.file.Data(t))
	if err != nil {
		l.err = fmt.Errorf("tensor %q: %w", name, err)
		return nil, nil
	}
	return t, m
}

func (l *loader) vector(name string, n int) []float32 {
	t := l.tensor(name, n)
	if t == nil {
		return nil
	}
	l.held += int64(4 * n)
	if l.planning {
		return nil
	}
	v := make([]float32, n)
	if err := quant.Dequantize(t.Type, v, l.file.Data(t)); err != nil {
		l.err = fmt.Errorf("tensor %q: %w", name, err)
		return nil
	}
	l.made(int64(t.Size))
	return v
}

// made notes that so many bytes of the file are ready.
func (l *loader) made(n int64) {
	l.read += n
	if l.progress != nil {
		l.progress(l.read, l.total)
	}
}
