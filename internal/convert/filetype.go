// SPDX-License-Identifier: MIT

// Package convert quantises GGUF models: it knows which tensor of a file gets which type, as llama.cpp's llama-quantize decides it, and
// encodes tensors row by row, so that no model is ever whole in memory. The coordinator calls it, and package synth for random models. It
// opens no files. Functions are safe for concurrent use; encoding itself uses several goroutines.
package convert

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/shardnode/shardnode/internal/quant"
)

// FileType is a recipe for a file: the type of most matrices and the exceptions.
type FileType struct {
	Name   string     // as llama.cpp spells it
	Number uint32     // general.file_type (llama.h, enum llama_ftype)
	Base   quant.Type // of most matrices

	value, down, output rule       // of attn_v or attn_qkv, of ffn_down, of attn_output; nil: Base
	output8             quant.Type // of attn_output in models of eight experts; F32: Base
}

// rule is which type a kind of matrix has in which layer, where that is not the base type.
type rule func(base quant.Type, layer int, m Model) quant.Type

var fileTypes = []FileType{
	{Name: "F32", Number: 0, Base: quant.F32},
	{Name: "F16", Number: 1, Base: quant.F16},
	{Name: "BF16", Number: 32, Base: quant.BF16},
	{Name: "Q8_0", Number: 7, Base: quant.Q8_0},
	{Name: "Q6_K", Number: 18, Base: quant.Q6_K},
	{Name: "Q5_K_M", Number: 17, Base: quant.Q5_K, value: scattered, down: scattered},
	{Name: "Q5_K_S", Number: 16, Base: quant.Q5_K},
	{Name: "Q5_0", Number: 8, Base: quant.Q5_0},
	{Name: "Q5_1", Number: 9, Base: quant.Q5_1},
	{Name: "Q4_K_M", Number: 15, Base: quant.Q4_K, value: scattered, down: scattered, output8: quant.Q5_K},
	{Name: "Q4_K_S", Number: 14, Base: quant.Q4_K, value: first(4, quant.Q5_K), down: firstOf(8, quant.Q5_K), output8: quant.Q5_K},
	{Name: "Q4_0", Number: 2, Base: quant.Q4_0},
	{Name: "Q4_1", Number: 3, Base: quant.Q4_1},
	{Name: "IQ4_NL", Number: 25, Base: quant.IQ4_NL, value: grouped(quant.Q5_K), down: firstOf(8, quant.Q5_K), output8: quant.Q5_K},
	{Name: "IQ4_XS", Number: 30, Base: quant.IQ4_XS, value: grouped(quant.Q5_K), down: firstOf(8, quant.Q5_K), output8: quant.Q5_K},
	{Name: "Q3_K_L", Number: 13, Base: quant.Q3_K, value: always(quant.Q5_K), down: always(quant.Q5_K), output: always(quant.Q5_K)},
	{
		Name: "Q3_K_M", Number: 12, Base: quant.Q3_K, value: over(always(quant.Q4_K), first(2, quant.Q5_K)),
		down: over(always(quant.Q4_K), firstOf(16, quant.Q5_K)), output: always(quant.Q4_K), output8: quant.Q5_K,
	},
	{Name: "Q3_K_S", Number: 11, Base: quant.Q3_K, output8: quant.Q5_K},
	{
		Name: "Q2_K", Number: 10, Base: quant.Q2_K, value: over(always(quant.Q3_K), grouped(quant.Q4_K)),
		down: always(quant.Q3_K), output: always(quant.Q3_K), output8: quant.Q5_K,
	},
	{Name: "MXFP4_MOE", Number: 38, Base: quant.MXFP4},
}

// of is what a rule says; no rule leaves the base type.
func (r rule) of(base quant.Type, layer int, m Model) quant.Type {
	if r == nil {
		return base
	}
	return r(base, layer, m)
}

func always(t quant.Type) rule { return func(quant.Type, int, Model) quant.Type { return t } }

// over is a rule for what another one has left.
func over(below, above rule) rule {
	return func(base quant.Type, layer int, m Model) quant.Type { return above(below(base, layer, m), layer, m) }
}

// first is t in the first n layers.
func first(n int, t quant.Type) rule {
	return func(base quant.Type, layer int, _ Model) quant.Type {
		if layer < n {
			return t
		}
		return base
	}
}

// firstOf is t in the first of so many parts of the layers.
func firstOf(parts int, t quant.Type) rule {
	return func(base quant.Type, layer int, m Model) quant.Type { return first(m.Layers/parts, t)(base, layer, m) }
}

// grouped is t where four query heads or more share a value head: then the matrix is small.
func grouped(t quant.Type) rule {
	return func(base quant.Type, _ int, m Model) quant.Type {
		if m.Group >= 4 {
			return t
		}
		return base
	}
}

// scattered is Q6_K in the first and the last eighth of the layers, and in every third between.
func scattered(base quant.Type, layer int, m Model) quant.Type {
	if early := m.Layers / 8; layer < early || layer >= 7*m.Layers/8 || (layer-early)%3 == 2 {
		return quant.Q6_K
	}
	return base
}

// ParseFileType reads a name in either case; the K-quants without a size are the medium ones, as in llama-quantize.
func ParseFileType(s string) (*FileType, error) {
	name := strings.ToUpper(s)
	switch name {
	case "Q3_K", "Q4_K", "Q5_K":
		name += "_M"
	case "MXFP4":
		name += "_MOE"
	}
	for i := range fileTypes {
		if fileTypes[i].Name == name {
			return &fileTypes[i], nil
		}
	}
	return nil, fmt.Errorf("type %q: want one of %s", s, FileTypeNames())
}

// FileTypeNames lists the recipes as users write them.
func FileTypeNames() string {
	known := make([]string, 0, len(fileTypes))
	for i := range fileTypes {
		known = append(known, strings.ToLower(fileTypes[i].Name))
	}
	return strings.Join(known, ", ")
}

// Model is what the choice of types depends on beside the tensor.
type Model struct {
	Layers  int
	Group   int  // query heads that share a key and value head
	Experts int  // of a layer; 0: no mixture
	Large   bool // one of the models of 70 billion parameters, see [TensorType]
	Tied    bool // no output.weight: the embedding serves as the head
}

var blockName = regexp.MustCompile(`^blk\.([0-9]+)\.(.+)\.weight$`)

// TensorType returns the type of a tensor in a file of type t; ok is false for one that keeps the type it has: vectors, norms and expert
// routers, which are small and matter much.
//
// The head is Q6_K in every quantised file but Q8_0 and MXFP4_MOE, where it is Q8_0. MXFP4_MOE is for experts only, and Q8_0 else.
// Eight experts share one attention, and eight query heads of a large model one value head, so these matrices get more bits. Rows
// that are no whole blocks get another type ([fitting]).
func (t *FileType) TensorType(name string, dims []uint64, m Model) (typ quant.Type, ok bool) {
	if len(dims) < 2 || !strings.HasSuffix(name, ".weight") || strings.HasSuffix(name, "_norm.weight") || strings.Contains(name, "ffn_gate_inp.") {
		return 0, false
	}
	if f, _ := quant.Lookup(t.Base); f.BlockElems == 1 {
		return t.Base, true
	}
	return fitting(t.choose(name, dims, m), dims[0]), true
}

func (t *FileType) choose(name string, dims []uint64, m Model) quant.Type {
	block := blockName.FindStringSubmatch(name)
	switch {
	case t.Base == quant.MXFP4 && len(dims) > 2 && block != nil:
		return quant.MXFP4
	case t.Base == quant.MXFP4:
		return quant.Q8_0
	case name == "output.weight", name == "token_embd.weight" && m.Tied:
		if t.Base == quant.Q8_0 {
			return quant.Q8_0
		}
		return quant.Q6_K
	case block == nil:
		return t.Base
	}
	layer, err := strconv.Atoi(block[1])
	if err != nil {
		return t.Base
	}
	switch kind := block[2]; {
	case kind == "attn_v", kind == "attn_qkv":
		typ := t.value.of(t.Base, layer, m)
		if m.Experts == 8 {
			return quant.Q8_0
		}
		if m.Large && (typ == quant.Q3_K || typ == quant.Q4_K) {
			return quant.Q5_K
		}
		return typ
	case kind == "attn_k" && m.Experts == 8:
		return quant.Q8_0
	case kind == "attn_output" && m.Experts == 8 && t.output8 != quant.F32:
		return t.output8
	case kind == "attn_output" && m.Experts != 8:
		return t.output.of(t.Base, layer, m)
	case strings.HasPrefix(kind, "ffn_down"):
		return t.down.of(t.Base, layer, m)
	}
	return t.Base
}

// fitting is typ, or what takes its place in rows that are not whole blocks of it.
func fitting(typ quant.Type, row uint64) quant.Type {
	fits := func() bool {
		f, _ := quant.Lookup(typ)
		return row%uint64(f.BlockElems) == 0
	}
	if !fits() {
		switch typ {
		case quant.Q2_K, quant.Q3_K:
			typ = quant.Q4_0
		case quant.Q4_K:
			typ = quant.Q5_0
		case quant.Q5_K:
			typ = quant.Q5_1
		case quant.Q6_K:
			typ = quant.Q8_0
		case quant.IQ4_XS:
			typ = quant.IQ4_NL
		}
	}
	if !fits() {
		return quant.F16
	}
	return typ
}
