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
	Q2_K Type = 10
	Q3_K Type = 11
	Q4_K Type = 12
	Q5_K Type = 13
	Q6_K Type = 14

	IQ4_NL Type = 20
	IQ4_XS Type = 23
	BF16   Type = 30
	MXFP4  Type = 39

	// Last is the largest number of a supported type.
	Last = MXFP4
)

// Format is what is known of a type.
type Format struct {
	Name       string
	BlockElems int // elements of one block along a row
	BlockBytes int // bytes of one block
}

// formats lists the types this build can compute with. Types that can only be listed are in listed.
var formats = map[Type]Format{
	F32:  {"F32", 1, 4},
	F16:  {"F16", 1, 2},
	BF16: {"BF16", 1, 2},
	Q4_0: {"Q4_0", 32, 18},
	Q4_1: {"Q4_1", 32, 20},
	Q5_0: {"Q5_0", 32, 22},
	Q5_1: {"Q5_1", 32, 24},
	Q8_0: {"Q8_0", 32, 34},
	Q2_K: {"Q2_K", 256, 84},
	Q3_K: {"Q3_K", 256, 110},
	Q4_K: {"Q4_K", 256, 144},
	Q5_K: {"Q5_K", 256, 176},
	Q6_K: {"Q6_K", 256, 210},

	IQ4_NL: {"IQ4_NL", 32, 18},
	IQ4_XS: {"IQ4_XS", 256, 136},
	MXFP4:  {"MXFP4", 32, 17},
}

// listed are the types that exist in files but are not computed with, so that errors can name them and files can be listed and hashed.
var listed = map[Type]Format{
	9:  {"Q8_1", 32, 36},
	15: {"Q8_K", 256, 292},
	16: {"IQ2_XXS", 256, 66},
	17: {"IQ2_XS", 256, 74},
	18: {"IQ3_XXS", 256, 98},
	19: {"IQ1_S", 256, 50},
	21: {"IQ3_S", 256, 110},
	22: {"IQ2_S", 256, 82},
	24: {"I8", 1, 1},
	25: {"I16", 1, 2},
	26: {"I32", 1, 4},
	27: {"I64", 1, 8},
	28: {"F64", 1, 8},
	29: {"IQ1_M", 256, 56},
	34: {"TQ1_0", 256, 54},
	35: {"TQ2_0", 256, 66},
}

// Lookup returns the format of t and whether this build supports it.
func Lookup(t Type) (Format, bool) {
	f, ok := formats[t]
	return f, ok
}

// Layout returns the block sizes of t, also of a type that can only be listed; false for an unknown one.
func Layout(t Type) (Format, bool) {
	if f, ok := formats[t]; ok {
		return f, true
	}
	f, ok := listed[t]
	return f, ok
}

// String returns GGML's name of the type, "type(99)" for an unknown one.
func (t Type) String() string {
	if f, ok := Layout(t); ok {
		return f.Name
	}
	return "type(" + strconv.FormatUint(uint64(t), 10) + ")"
}
