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
	mixed  bool       // a "medium" K-quant: half of attn_v and ffn_down are Q6_K
}

var fileTypes = []FileType{
	{"F32", 0, quant.F32, false},
	{"F16", 1, quant.F16, false},
	{"BF16", 32, quant.BF16, false},
	{"Q8_0", 7, quant.Q8_0, false},
	{"Q6_K", 18, quant.Q6_K, false},
	{"Q5_K_M", 17, quant.Q5_K, true},
	{"Q5_0", 8, quant.Q5_0, false},
	{"Q5_1", 9, quant.Q5_1, false},
	{"Q4_K_M", 15, quant.Q4_K, true},
	{"Q4_0", 2, quant.Q4_0, false},
	{"Q4_1", 3, quant.Q4_1, false},
}

// ParseFileType reads a name in either case; Q4_K and Q5_K are the medium ones, as in llama-quantize.
func ParseFileType(s string) (*FileType, error) {
	name := strings.ToUpper(s)
	if name == "Q4_K" || name == "Q5_K" {
		name += "_M"
	}
	var known []string
	for i := range fileTypes {
		if fileTypes[i].Name == name {
			return &fileTypes[i], nil
		}
		known = append(known, strings.ToLower(fileTypes[i].Name))
	}
	return nil, fmt.Errorf("type %q: want one of %s", s, strings.Join(known, ", "))
}

// Model is what the choice of types depends on beside the tensor.
type Model struct {
	Layers int
	Tied   bool // no output.weight: the embedding serves as the head
}

var blockName = regexp.MustCompile(`^blk\.([0-9]+)\.(.+)\.weight$`)

// TensorType returns the type of a tensor in a file of type t; ok is false for one that keeps the type it has: vectors, norms and expert
// routers, which are small and matter much.
//
// The head is Q6_K in every quantised file but Q8_0, and a K-quant whose rows are no multiple of 256 gives way to the next type with
// blocks of 32: Q4_K to Q5_0, Q5_K to Q5_1, Q6_K to Q8_0. Rows that are no multiple of 32 either become F16.
func (t *FileType) TensorType(name string, dims []uint64, m Model) (typ quant.Type, ok bool) {
	if len(dims) < 2 || !strings.HasSuffix(name, ".weight") || strings.HasSuffix(name, "_norm.weight") || strings.Contains(name, "ffn_gate_inp.") {
		return 0, false
	}
	typ = t.Base
	if t.Base == quant.F32 || t.Base == quant.F16 || t.Base == quant.BF16 {
		return typ, true
	}
	block := blockName.FindStringSubmatch(name)
	switch {
	case name == "output.weight", name == "token_embd.weight" && m.Tied:
		if typ != quant.Q8_0 {
			typ = quant.Q6_K
		}
	case t.mixed && block != nil && (block[2] == "attn_v" || block[2] == "ffn_down" || block[2] == "ffn_down_exps"):
		if layer, err := strconv.Atoi(block[1]); err == nil && moreBits(layer, m.Layers) {
			typ = quant.Q6_K
		}
	case t.mixed && block != nil && block[2] == "attn_qkv":
		typ = map[quant.Type]quant.Type{quant.Q4_K: quant.Q5_K, quant.Q5_K: quant.Q6_K}[typ]
	}
	return fitting(typ, dims[0]), true
}

// moreBits says which layers of a medium K-quant get the larger type: the first and the last eighth, and every third between.
func moreBits(layer, layers int) bool {
	return layer < layers/8 || layer >= 7*layers/8 || (layer-layers/8)%3 == 2
}

// fitting is typ, or what takes its place in rows that are not whole blocks of it.
func fitting(typ quant.Type, row uint64) quant.Type {
	fits := func() bool {
		f, _ := quant.Lookup(typ)
		return row%uint64(f.BlockElems) == 0
	}
	if !fits() {
		switch typ {
		case quant.Q4_K:
			typ = quant.Q5_0
		case quant.Q5_K:
			typ = quant.Q5_1
		case quant.Q6_K:
			typ = quant.Q8_0
		}
	}
	if !fits() {
		return quant.F16
	}
	return typ
}
