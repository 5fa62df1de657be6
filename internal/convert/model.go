// SPDX-License-Identifier: MIT

package convert

import (
	"context"
	"fmt"
	"io"
	"math"

	"github.com/shardnode/shardnode/internal/quant"
	"github.com/shardnode/shardnode/pkg/gguf"
)

// QuantizationVersion is general.quantization_version: of the block formats (ggml.h, GGML_QNT_VERSION).
const QuantizationVersion = uint32(2)

// TensorReport says what became of a tensor.
type TensorReport struct {
	Name     string
	From, To quant.Type
	Dims     []uint64
	Bytes    uint64 // in the new file
	Loss     Loss   // of the conversion; nothing where the bytes were copied
}

// Plan is a conversion of one file to another type. It is made before anything is written, so that refusals come at once.
type Plan struct {
	file    *gguf.File
	meta    *gguf.Metadata
	Tensors []TensorReport // in file order; Loss is set as they are written
}

// NewPlan decides the tensors' types. It refuses files with types that cannot be read.
func NewPlan(f *gguf.File, t *FileType) (*Plan, error) {
	model := modelOf(f)
	p := &Plan{file: f, meta: withFileType(f.Meta, t)}
	for i := range f.Tensors {
		tensor := &f.Tensors[i]
		r := TensorReport{Name: tensor.Name, From: tensor.Type, To: tensor.Type, Dims: tensor.Dims, Bytes: tensor.Size}
		to, ok := t.TensorType(tensor.Name, tensor.Dims, model)
		if ok && to != tensor.Type {
			if _, known := quant.Lookup(tensor.Type); !known {
				return nil, fmt.Errorf("tensor %q has the type %s, which cannot be read: start from a file of another type, best F16 or F32", tensor.Name, tensor.Type)
			}
			if tensor.Dims[0] > math.MaxInt32 || tensor.Rows() > math.MaxInt32 {
				return nil, fmt.Errorf("tensor %q of dimensions %d is too large", tensor.Name, tensor.Dims)
			}
			row, err := quant.RowBytes(to, int(tensor.Dims[0]))
			if err != nil {
				return nil, fmt.Errorf("tensor %q: %w", tensor.Name, err)
			}
			r.To, r.Bytes = to, uint64(row)*tensor.Rows()
		}
		p.Tensors = append(p.Tensors, r)
	}
	return p, nil
}

// modelOf reads what the choice of types depends on; a key that is not there, or is no number, counts as 0.
func modelOf(f *gguf.File) Model {
	arch, _ := f.Meta.String("general.architecture") // "": no key has that prefix
	number := func(key string) int {
		n, err := f.Meta.Uint(arch + "." + key)
		if err != nil || n > math.MaxInt32 {
			return 0
		}
		return int(n)
	}
	_, hasHead := f.Tensor("output.weight")
	m := Model{Layers: number("block_count"), Experts: number("expert_count"), Tied: !hasHead}
	heads, kv := number("attention.head_count"), number("attention.head_count_kv")
	if kv == 0 {
		kv = heads
	}
	if kv > 0 {
		m.Group = heads / kv
	}
	m.Large = m.Layers == 80 && (arch == "qwen2" || arch == "llama" && m.Group > 1)
	return m
}

// withFileType copies metadata, its order kept, and says what the file is now.
func withFileType(meta *gguf.Metadata, t *FileType) *gguf.Metadata {
	out := &gguf.Metadata{}
	for _, key := range meta.Keys {
		if value, ok := meta.Get(key); ok {
			out.Set(key, value)
		}
	}
	out.Set("general.file_type", t.Number)
	out.Set("general.quantization_version", QuantizationVersion)
	return out
}

// Bytes returns the bytes of all tensors of the new file.
func (p *Plan) Bytes() int64 {
	var sum uint64
	for _, t := range p.Tensors {
		sum += t.Bytes
	}
	return int64(sum)
}

// Lossy reports whether tensors that are quantised already are quantised once more: the result is worse than from the original.
func (p *Plan) Lossy() bool {
	for _, t := range p.Tensors {
		if f, _ := quant.Lookup(t.From); t.From != t.To && f.BlockElems > 1 {
			return true
		}
	}
	return false
}

// Write writes the new file.
func (p *Plan) Write(ctx context.Context, w io.Writer, e *Encoder) error {
	sources := make([]gguf.TensorSource, len(p.Tensors))
	for i := range p.Tensors {
		r := &p.Tensors[i]
		sources[i] = gguf.TensorSource{Name: r.Name, Type: r.To, Dims: r.Dims, Write: func(w io.Writer) error { return p.tensor(ctx, w, e, r) }}
	}
	return gguf.WriteStream(w, p.meta, sources)
}

func (p *Plan) tensor(ctx context.Context, w io.Writer, e *Encoder, r *TensorReport) error {
	t, _ := p.file.Tensor(r.Name)
	data := p.file.Data(t)
	defer p.file.Release(t)
	if r.To == r.From {
		if _, err := w.Write(data); err != nil {
			return err
		}
		if e.Progress != nil {
			e.Progress(int64(len(data)))
		}
		return ctx.Err()
	}
	cols := int(t.Dims[0])
	size, err := quant.RowBytes(t.Type, cols)
	if err != nil {
		return err
	}
	r.Loss, err = e.Encode(ctx, w, r.To, cols, int(t.Rows()), func(row int, dst []float32) error {
		return quant.Dequantize(t.Type, dst, data[row*size:(row+1)*size])
	})
	return err
}
