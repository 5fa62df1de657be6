// SPDX-License-Identifier: MIT

// Package quant describes GGML's tensor types and their block formats, one file a format: sizes, dequantisation to
// float32 and quantisation from it. It does no I/O. All functions are safe for concurrent use on distinct slices.
package quant

import "strconv"

// Type is a GGML tensor type as stored in a GGUF tensor directory (ggml.h, enum ggml_type).
type Type uint32

// Tensor types. The numbers are GGML's.
const (
	F32  Type = 0
	F16  Type = 1
	Q4_0 Type = 2
	Q4_1 Type = 3
	Q5_0 Type = 6
	Q5_1 Type = 7
	Q8_0 Type = 8
	Q4_K Type = 12
	Q5_K Type = 13
	Q6_K Type = 14
	BF16 Type = 30
)

// Format is what is known of a type.
type Format struct {
	Name       string
	BlockElems int // elements of one block along a row
	BlockBytes int // bytes of one block
}

// formats lists the types this build can compute with. Types known only by name are in names.
var formats = map[Type]Format{
	F32:  {"F32", 1, 4},
	F16:  {"F16", 1, 2},
	BF16: {"BF16", 1, 2},
	Q4_0: {"Q4_0", 32, 18},
	Q4_1: {"Q4_1", 32, 20},
	Q5_0: {"Q5_0", 32, 22},
	Q5_1: {"Q5_1", 32, 24},
	Q8_0: {"Q8_0", 32, 34},
	Q4_K: {"Q4_K", 256, 144},
	Q5_K: {"Q5_K", 256, 176},
	Q6_K: {"Q6_K", 256, 210},
}

// names of types that exist in files but are not computed with, so that errors can name them.
var names = map[Type]string{
	9: "Q8_1", 10: "Q2_K", 11: "Q3_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S",
	20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64",
	29: "IQ1_M", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4",
}

// Lookup returns the format of t and whether this build supports it.
func Lookup(t Type) (Format, bool) {
	f, ok := formats[t]
	return f, ok
}

// String returns GGML's name of the type, "type(99)" for an unknown one.
func (t Type) String() string {
	if f, ok := formats[t]; ok {
		return f.Name
	}
	if n, ok := names[t]; ok {
		return n
	}
	return "type(" + strconv.Itoa(int(t)) + ")"
}
