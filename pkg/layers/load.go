// SPDX-License-Identifier: MIT

package layers

import (
	"context"
	"fmt"
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
	m := &Model{cfg: *cfg, layers: r, f32: opt.F32, now: opt.Now}
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
	if shape := kvShape(cfg, r, m.kvType); r.Len() > 0 && shape.Validate() != nil {
		return nil, fmt.Errorf("load layers %s: %w", r, shape.Validate())
	}
	m.pool = kernel.NewPool(max(1, opt.Threads))
	m.newScratch()
	return m, nil
}

// load takes each tensor that the range needs.
func (m *Model) load(l *loader) {
	c, f := &m.cfg, familyOf(m.cfg.Arch)
	if m.First() {
		m.loadEmbedding(l)
	}
	for i := m.layers.From; i < m.layers.To; i++ {
		b := f.block(l, c, i)
		b.local = c.Local != nil && c.Local[i]
		m.blocks = append(m.blocks, b)
	}
	if m.Last() {
		m.loadHead(l)
	}
	m.loadRope(l)
}

// loadEnds takes what comes before and after all layers.
func (m *Model) loadEnds(l *loader) {
	m.loadEmbedding(l)
	m.loadHead(l)
}

func (m *Model) loadEmbedding(l *loader) {
	m.embedding = l.embedding("token_embd.weight", m.cfg.Vocab, m.cfg.Hidden)
}

func (m *Model) loadHead(l *loader) {
	m.norm = l.vector("output_norm.weight", m.cfg.Hidden)
	m.head = l.matrix(headTensor(l.file), m.cfg.Vocab, m.cfg.Hidden)
}

// attention takes what all families have of the first half of a layer.
func (l *loader) attention(c *Config, i int) attention {
	heads, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	return attention{
		attnNorm: l.vector(weight(i, "attn_norm"), c.Hidden),
		q:        l.matrix(weight(i, "attn_q"), heads, c.Hidden),
		k:        l.matrix(weight(i, "attn_k"), kv, c.Hidden),
		v:        l.matrix(weight(i, "attn_v"), kv, c.Hidden),
		o:        l.matrix(weight(i, "attn_output"), c.Hidden, heads),
	}
}

// feedForward takes the second half of a layer: a network that all rows go through, or experts.
func (l *loader) feedForward(c *Config, i int) feedForward {
	f := feedForward{ffnNorm: l.vector(weight(i, "ffn_norm"), c.Hidden)}
	if c.Experts > 0 {
		f.experts = l.mixtureOf(c, i)
		return f
	}
	f.gate = l.matrix(weight(i, "ffn_gate"), c.FFN, c.Hidden)
	f.up = l.matrix(weight(i, "ffn_up"), c.FFN, c.Hidden)
	f.down = l.matrix(weight(i, "ffn_down"), c.Hidden, c.FFN)
	return f
}

// purpose is what a loader goes through a range for.
type purpose int

const (
	toLoad purpose = iota
	toPlan         // to add up what loading will take
	toList         // to name the tensors, which need not be there
)

// loader takes tensors from a file and keeps the first error.
type loader struct {
	file     *gguf.File
	f32      bool
	purpose  purpose
	listed   []string // each once
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

func (l *loader) loading() bool { return l.purpose == toLoad }

// has reports whether the file has a tensor that a model may lack.
func (l *loader) has(name string) bool {
	_, ok := l.file.Tensor(name)
	return ok
}

// tensor finds a tensor of the given shape, in GGUF's order: the row length first.
func (l *loader) tensor(name string, want ...int) *gguf.Tensor {
	if l.err == nil && l.stopped != nil {
		l.err = l.stopped()
	}
	if l.err != nil {
		return nil
	}
	if l.purpose == toList {
		if !slices.Contains(l.listed, name) {
			l.listed = append(l.listed, name)
		}
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
func (l *loader) embedding(name string, n, cols int) *kernel.Matrix {
	p, m := l.original(name, []int{cols, n}, 0, n)
	if m != nil {
		l.embedded = name
		l.held += int64(p.size)
		l.made(int64(p.size))
	}
	return m
}

// matrix is a factor of matrix products.
func (l *loader) matrix(name string, rows, cols int) *kernel.Matrix {
	return l.part(name, []int{cols, rows}, 0, rows)
}

// part is some rows of a tensor as a factor of matrix products: a part of what a file stacks, one expert's of those of all. Rows are counted
// over all dimensions of the tensor but the first.
func (l *loader) part(name string, dims []int, first, rows int) *kernel.Matrix {
	p, m := l.original(name, dims, first, rows)
	if m == nil {
		return nil
	}
	cols := dims[0]
	shared := name == l.embedded // the file's bytes have been counted, and stay mapped
	typ, held := p.tensor.Type, int64(p.size)
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
		l.matrices = append(l.matrices, panelMatrix{name: p.name(), typ: typ, rows: rows, cols: cols, bytes: packed})
	case !shared:
		l.held += held
	}
	if !l.loading() {
		return nil
	}
	return l.ready(p, m)
}

// rows are the bytes of some rows of a tensor.
type rows struct {
	tensor *gguf.Tensor
	at     uint64 // from the beginning of the tensor
	size   uint64
}

// name is the tensor's, with the bytes where they are not all.
func (p rows) name() string {
	if p.size == p.tensor.Size {
		return p.tensor.Name
	}
	return fmt.Sprintf("%s[%d:%d]", p.tensor.Name, p.at, p.at+p.size)
}

// ready returns a matrix as products want it.
func (l *loader) ready(p rows, original *kernel.Matrix) *kernel.Matrix {
	m, t := original, p.tensor
	if l.f32 {
		m = original.Dequantized()
	}
	packed, err := l.pool.NewPacked(m, l.memory)
	switch {
	case err != nil:
		l.err = fmt.Errorf("tensor %q: %w", t.Name, err)
		return nil
	case packed != m:
		if !l.unpacked(p, packed) {
			l.pack(p, packed, m)
		}
		l.matrices[len(l.matrices)-1].matrix = packed
	case t.Name != l.embedded:
		l.made(int64(p.size))
	}
	if packed != original { // of an embedding, the pages of the tokens met come back
		if n := len(l.copied); n == 0 || l.copied[n-1] != t {
			l.copied = append(l.copied, t)
		}
		l.file.ReleasePart(t, p.at, p.at+p.size)
	}
	return packed
}

// unpacked fills a matrix from the panel file. It reports whether that is done, or loading has stopped; from the first panels that are
// not right on, matrices are packed.
func (l *loader) unpacked(p rows, packed *kernel.Matrix) bool {
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
	if p.tensor.Name != l.embedded {
		l.made(int64(p.size))
	}
	return true
}

// packPiece is about how many bytes of a tensor are packed before their pages are given back.
const packPiece = 16 << 20

// pack repacks m, which is the rows p or a copy of them.
func (l *loader) pack(p rows, packed, m *kernel.Matrix) {
	row := int(p.size) / m.Rows
	step := max(1, packPiece/row/kernel.PackRowsStep) * kernel.PackRowsStep
	for from := 0; from < m.Rows && l.err == nil; from += step {
		to := min(from+step, m.Rows)
		l.pool.PackRows(packed, m, from, to)
		l.file.ReleasePart(p.tensor, p.at+uint64(from*row), p.at+uint64(to*row))
		if p.tensor.Name != l.embedded {
			l.made(int64((to - from) * row))
		}
		l.err = l.stopped()
	}
}

// original is rows of a tensor of these dimensions as the file has them.
func (l *loader) original(name string, dims []int, first, n int) (rows, *kernel.Matrix) {
	t := l.tensor(name, dims...)
	if t == nil {
		return rows{}, nil
	}
	row, err := quant.RowBytes(t.Type, dims[0])
	if err != nil {
		l.err = fmt.Errorf("tensor %q: %w", name, err)
		return rows{}, nil
	}
	p := rows{tensor: t, at: uint64(first * row), size: uint64(n * row)}
	m, err := kernel.NewMatrix(t.Type, n, dims[0], l.file.Data(t)[p.at:][:p.size:p.size])
	if err != nil {
		l.err = fmt.Errorf("tensor %q: %w", name, err)
		return rows{}, nil
	}
	return p, m
}

// vector is a tensor of these dimensions in floats.
func (l *loader) vector(name string, dims ...int) []float32 {
	t := l.tensor(name, dims...)
	if t == nil {
		return nil
	}
	n := 1
	for _, d := range dims {
		n *= d
	}
	l.held += int64(4 * n)
	if !l.loading() {
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
