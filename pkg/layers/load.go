// SPDX-License-Identifier: MIT

package layers

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/shardnode/shardnode/internal/kernel"
	"github.com/shardnode/shardnode/internal/quant"
	"github.com/shardnode/shardnode/pkg/gguf"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// Load makes a range of layers ready. Matrices refer to the file's bytes, which must stay mapped as long as the model lives; tensors of other layers are
// never touched.
func Load(f *gguf.File, cfg *Config, r protocol.LayerRange, opt Options) (*Model, error) {
	if !r.Valid(cfg.NLayers) {
		return nil, fmt.Errorf("layers %s: the model has %d layers, 0-%d", r, cfg.NLayers, cfg.NLayers-1)
	}
	m := &Model{cfg: *cfg, layers: r, f32: opt.F32, now: opt.Now, scale: float32(1 / math.Sqrt(float64(cfg.HeadDim)))}
	if m.now == nil {
		m.now = time.Now
	}
	switch {
	case opt.KV == protocol.F32 || opt.KV == 0 && opt.F32:
		m.kvType = quant.F32
	case opt.KV == protocol.F16 || opt.KV == 0:
		m.kvType = quant.F16
	default:
		return nil, fmt.Errorf("KV cache of type %s: want f16 or f32", opt.KV)
	}
	total, err := PlanBytes(f, cfg, r)
	if err != nil {
		return nil, err
	}
	l := &loader{file: f, f32: opt.F32, progress: opt.Progress, total: total}
	m.load(l)
	if l.err != nil {
		return nil, fmt.Errorf("load layers %s: %w", r, l.err)
	}
	m.bytes = l.bytes
	m.pool = kernel.NewPool(max(1, opt.Threads))
	return m, nil
}

// load takes each tensor the range needs.
func (m *Model) load(l *loader) {
	c := &m.cfg
	if m.First() {
		m.embedding = l.matrix("token_embd.weight", c.Vocab, c.Hidden)
	}
	heads, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	for i := m.layers.From; i < m.layers.To; i++ {
		name := func(s string) string { return fmt.Sprintf("blk.%d.%s.weight", i, s) }
		m.blocks = append(m.blocks, block{
			attnNorm: l.vector(name("attn_norm"), c.Hidden),
			q:        l.matrix(name("attn_q"), heads, c.Hidden),
			k:        l.matrix(name("attn_k"), kv, c.Hidden),
			v:        l.matrix(name("attn_v"), kv, c.Hidden),
			o:        l.matrix(name("attn_output"), c.Hidden, heads),
			ffnNorm:  l.vector(name("ffn_norm"), c.Hidden),
			gate:     l.matrix(name("ffn_gate"), c.FFN, c.Hidden),
			up:       l.matrix(name("ffn_up"), c.FFN, c.Hidden),
			down:     l.matrix(name("ffn_down"), c.Hidden, c.FFN),
		})
	}
	if m.Last() {
		m.norm = l.vector("output_norm.weight", c.Hidden)
		switch {
		case !tiedHead(l.file):
			m.head = l.matrix("output.weight", c.Vocab, c.Hidden)
		case m.First():
			m.head = m.embedding
		default:
			m.head = l.matrix("token_embd.weight", c.Vocab, c.Hidden)
		}
	}
	var factors []float32
	if _, ok := l.file.Tensor("rope_freqs.weight"); ok {
		factors = l.vector("rope_freqs.weight", c.RopeDim/2)
	}
	if l.err == nil {
		m.rope, l.err = kernel.NewRope(c.RopeDim, c.RopeBase, factors, c.RopeScale)
	}
}

// tiedHead reports whether the head is the embedding.
func tiedHead(f *gguf.File) bool {
	_, ok := f.Tensor("output.weight")
	return !ok
}

// loader takes tensors from a file and keeps the first error.
type loader struct {
	file     *gguf.File
	f32      bool
	progress func(done, total int64)
	bytes    int64 // held
	read     int64 // of the file
	total    int64
	err      error
}

// tensor finds a tensor of the given shape: rows of cols elements, rows 0 for a vector.
func (l *loader) tensor(name string, rows, cols int) *gguf.Tensor {
	if l.err != nil {
		return nil
	}
	t, ok := l.file.Tensor(name)
	if !ok {
		l.err = fmt.Errorf("tensor %q is missing", name)
		return nil
	}
	if _, ok := quant.Lookup(t.Type); !ok {
		l.err = fmt.Errorf("tensor %q has type %s, which is not supported; requantise the file", name, t.Type)
		return nil
	}
	want := []uint64{uint64(cols)}
	if rows > 0 {
		want = append(want, uint64(rows))
	}
	if !sameShape(t.Dims, want) {
		l.err = fmt.Errorf("tensor %q has the shape %s, the configuration wants %s", name, shape(t.Dims), shape(want))
		return nil
	}
	return t
}

// sameShape compares shapes; trailing dimensions of one do not count.
func sameShape(a, b []uint64) bool {
	for i := range max(len(a), len(b)) {
		if dim(a, i) != dim(b, i) {
			return false
		}
	}
	return true
}

func dim(s []uint64, i int) uint64 {
	if i < len(s) {
		return s[i]
	}
	return 1
}

func shape(dims []uint64) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(dims), " ", " x "), "[]")
}

func (l *loader) matrix(name string, rows, cols int) *kernel.Matrix {
	t := l.tensor(name, rows, cols)
	if l.err != nil {
		return nil
	}
	m, err := kernel.NewMatrix(t.Type, rows, cols, l.file.Data(t))
	if err != nil {
		l.err = fmt.Errorf("tensor %q: %w", name, err)
		return nil
	}
	if l.f32 {
		m = m.Dequantized()
	}
	l.count(t, m.Bytes())
	return m
}

func (l *loader) vector(name string, n int) []float32 {
	t := l.tensor(name, 0, n)
	if l.err != nil {
		return nil
	}
	v := make([]float32, n)
	if err := quant.Dequantize(t.Type, v, l.file.Data(t)); err != nil {
		l.err = fmt.Errorf("tensor %q: %w", name, err)
		return nil
	}
	l.count(t, int64(4*n))
	return v
}

func (l *loader) count(t *gguf.Tensor, held int64) {
	l.bytes += held
	l.read += int64(t.Size)
	if l.progress != nil {
		l.progress(l.read, l.total)
	}
}

// PlanBytes returns the bytes of the file that a range holds, or an error that names a missing tensor.
func PlanBytes(f *gguf.File, cfg *Config, r protocol.LayerRange) (int64, error) {
	var sum int64
	for _, name := range RequiredTensors(f, cfg, r) {
		t, ok := f.Tensor(name)
		if !ok {
			return 0, fmt.Errorf("load layers %s: tensor %q is missing: the file holds another model, or a part of it", r, name)
		}
		sum += int64(t.Size)
	}
	return sum, nil
}

// RequiredTensors lists the tensors that a range holds.
func RequiredTensors(f *gguf.File, cfg *Config, r protocol.LayerRange) []string {
	var names []string
	last := r.To == cfg.NLayers
	if r.From == 0 || last && tiedHead(f) {
		names = append(names, "token_embd.weight")
	}
	for i := r.From; i < r.To; i++ {
		for _, s := range []string{"attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate", "ffn_up", "ffn_down"} {
			names = append(names, fmt.Sprintf("blk.%d.%s.weight", i, s))
		}
	}
	if last {
		names = append(names, "output_norm.weight")
		if !tiedHead(f) {
			names = append(names, "output.weight")
		}
	}
	if _, ok := f.Tensor("rope_freqs.weight"); ok {
		names = append(names, "rope_freqs.weight")
	}
	return names
}
