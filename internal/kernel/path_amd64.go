// SPDX-License-Identifier: MIT

//go:build amd64 && !purego

package kernel

import (
	"maps"
	"slices"

	"github.com/klauspost/cpuid/v2"
	"golang.org/x/sys/cpu"

	"github.com/shardnode/shardnode/internal/quant"
)

//go:generate go run -C _gen . -out ../tile_amd64.s -stubs ../tile_amd64.go -pkg kernel
//go:generate go run -C _gen . -ops -out ../ops_amd64.s -stubs ../ops_amd64.go -pkg kernel

// supported returns the paths that this processor has, the best last.
func supported() []path {
	paths := []path{generic}
	x := &cpu.X86
	if x.HasAVX2 && x.HasFMA && x.HasF16C {
		paths = append(paths, avx2)
	}
	if x.HasAVX512F && x.HasAVX512BW && x.HasAVX512DQ && x.HasAVX512VL && x.HasAVX512VNNI && x.HasFMA && x.HasF16C {
		paths = append(paths, avx512)
		if x.HasAMXTile && x.HasAMXInt8 && mayUseTiles() {
			paths = append(paths, amx)
		}
	}
	return paths
}

// fetchAhead returns how many bytes before their use this processor should be asked to fetch weights; 0 leaves it to the processor. Zen 4
// reads large matrices a quarter faster without, Zen 3 and Sapphire Rapids up to 40 % faster with: docs/performance.md, BenchmarkFetch.
func fetchAhead() int {
	switch {
	case cpuid.CPU.VendorID != cpuid.AMD:
		return 8192
	case cpu.X86.HasAVX512F:
		return 0
	default:
		return 2048
	}
}

// tilesOf returns the routines of a path for weights of type t; nil where there are none.
func tilesOf(p path, t quant.Type) *tiles {
	switch p {
	case avx2:
		return tilesAVX2[t]
	case avx512:
		return tilesAVX512[t]
	case amx:
		return tilesAMX[t]
	default:
		return nil
	}
}

// opsOf returns the routines of a path for all else; nil where there are none.
func opsOf(p path) *ops {
	switch p {
	case avx2:
		return &opsAVX2
	case avx512, amx:
		return &opsAVX512
	default:
		return nil
	}
}

// readOf returns a path's routine to read memory, for [Stream]; nil where there is none.
func readOf(p path) readFunc {
	switch p {
	case avx2:
		return readAVX2
	case avx512, amx:
		return readAVX512
	default:
		return nil
	}
}

// opsAVX512 has wider routines for what computes much: exponentials and attention. The rest waits for memory.
var opsAVX512 = func() ops {
	o := opsAVX2
	o.softmax, o.swiglu, o.geglu, o.weights = softmaxAVX512, swigluAVX512, gegluAVX512, weightsAVX512
	o.clamped, o.softCap = swigluClampedAVX512, softCapAVX512
	o.kv16 = kvOps{putF16AVX2, scores4F16AVX512, scores2F16AVX512, scores1F16AVX512, mix4F16AVX512, mix2F16AVX512, mix1F16AVX512}
	o.kv32 = kvOps{putF32AVX2, scores4F32AVX512, scores2F32AVX512, scores1F32AVX512, mix4F32AVX512, mix2F32AVX512, mix1F32AVX512}
	return o
}()

var opsAVX2 = ops{
	quantize:  quantizeAVX2,
	remainder: remainderAVX2,
	softmax:   softmaxAVX2,
	swiglu:    swigluAVX2,
	geglu:     gegluAVX2,
	clamped:   swigluClampedAVX2,
	softCap:   softCapAVX2,
	squares:   squaresAVX2,
	norm:      normAVX2,
	add:       addAVX2,
	scale:     scaleAVX2,
	ropeNorm:  ropeNormAVX2,
	ropeNeox:  ropeNeoxAVX2,
	argMax:    argMaxAVX2,
	maxima:    maximaAVX2,
	weights:   weightsAVX2,
	kv16:      kvOps{putF16AVX2, scores4F16AVX2, scores2F16AVX2, scores1F16AVX2, mix4F16AVX2, mix2F16AVX2, mix1F16AVX2},
	kv32:      kvOps{putF32AVX2, scores4F32AVX2, scores2F32AVX2, scores1F32AVX2, mix4F32AVX2, mix2F32AVX2, mix1F32AVX2},
}

var tilesAVX2 = map[quant.Type]*tiles{
	quant.Q8_0:   {quant: []tileFunc{tileAVX2Q8_0x1, tileAVX2Q8_0x2, tileAVX2Q8_0x4}},
	quant.Q4_0:   {quant: []tileFunc{tileAVX2Q4_0x1, tileAVX2Q4_0x2, tileAVX2Q4_0x4}},
	quant.Q4_1:   {quant: []tileFunc{tileAVX2Q4_1x1, tileAVX2Q4_1x2, tileAVX2Q4_1x4}},
	quant.Q5_0:   {quant: []tileFunc{tileAVX2Q5_0x1, tileAVX2Q5_0x2, tileAVX2Q5_0x4}},
	quant.Q5_1:   {quant: []tileFunc{tileAVX2Q5_1x1, tileAVX2Q5_1x2, tileAVX2Q5_1x4}},
	quant.Q4_K:   {quant: []tileFunc{tileAVX2Q4_Kx1, tileAVX2Q4_Kx2, tileAVX2Q4_Kx4}},
	quant.Q5_K:   {quant: []tileFunc{tileAVX2Q5_Kx1, tileAVX2Q5_Kx2, tileAVX2Q5_Kx4}},
	quant.Q6_K:   {quant: []tileFunc{tileAVX2Q6_Kx1, tileAVX2Q6_Kx2, tileAVX2Q6_Kx4}},
	quant.Q2_K:   {quant: []tileFunc{tileAVX2Q2_Kx1, tileAVX2Q2_Kx2, tileAVX2Q2_Kx4}},
	quant.Q3_K:   {quant: []tileFunc{tileAVX2Q3_Kx1, tileAVX2Q3_Kx2, tileAVX2Q3_Kx4}},
	quant.IQ4_NL: {quant: []tileFunc{tileAVX2IQ4_NLx1, tileAVX2IQ4_NLx2, tileAVX2IQ4_NLx4}},
	quant.IQ4_XS: {quant: []tileFunc{tileAVX2IQ4_XSx1, tileAVX2IQ4_XSx2, tileAVX2IQ4_XSx4}},
	quant.MXFP4:  {quant: []tileFunc{tileAVX2MXFP4x1, tileAVX2MXFP4x2, tileAVX2MXFP4x4}},
	quant.F32:    {floatOne: tileAVX2F32x1, floatFour: tileAVX2F32x4},
	quant.F16:    {floatOne: tileAVX2F16x1, floatFour: tileAVX2F16x4},
	quant.BF16:   {floatOne: tileAVX2BF16x1, floatFour: tileAVX2BF16x4},
}

var tilesAVX512 = map[quant.Type]*tiles{
	quant.Q8_0:   {quant: []tileFunc{tileAVX512Q8_0x1, tileAVX512Q8_0x2, tileAVX512Q8_0x4}, pair: tileAVX512Q8_0x4Pair},
	quant.Q4_0:   {quant: []tileFunc{tileAVX512Q4_0x1, tileAVX512Q4_0x2, tileAVX512Q4_0x4}, pair: tileAVX512Q4_0x4Pair},
	quant.Q4_1:   {quant: []tileFunc{tileAVX512Q4_1x1, tileAVX512Q4_1x2, tileAVX512Q4_1x4, tileAVX512Q4_1x8}},
	quant.Q5_0:   {quant: []tileFunc{tileAVX512Q5_0x1, tileAVX512Q5_0x2, tileAVX512Q5_0x4, tileAVX512Q5_0x8}},
	quant.Q5_1:   {quant: []tileFunc{tileAVX512Q5_1x1, tileAVX512Q5_1x2, tileAVX512Q5_1x4, tileAVX512Q5_1x8}},
	quant.Q4_K:   {quant: []tileFunc{tileAVX512Q4_Kx1, tileAVX512Q4_Kx2, tileAVX512Q4_Kx4, tileAVX512Q4_Kx8}},
	quant.Q5_K:   {quant: []tileFunc{tileAVX512Q5_Kx1, tileAVX512Q5_Kx2, tileAVX512Q5_Kx4, tileAVX512Q5_Kx8}},
	quant.Q6_K:   {quant: []tileFunc{tileAVX512Q6_Kx1, tileAVX512Q6_Kx2, tileAVX512Q6_Kx4, tileAVX512Q6_Kx8}},
	quant.Q2_K:   {quant: []tileFunc{tileAVX512Q2_Kx1, tileAVX512Q2_Kx2, tileAVX512Q2_Kx4}},
	quant.Q3_K:   {quant: []tileFunc{tileAVX512Q3_Kx1, tileAVX512Q3_Kx2, tileAVX512Q3_Kx4, tileAVX512Q3_Kx8}},
	quant.IQ4_NL: {quant: []tileFunc{tileAVX512IQ4_NLx1, tileAVX512IQ4_NLx2, tileAVX512IQ4_NLx4, tileAVX512IQ4_NLx8}},
	quant.IQ4_XS: {quant: []tileFunc{tileAVX512IQ4_XSx1, tileAVX512IQ4_XSx2, tileAVX512IQ4_XSx4, tileAVX512IQ4_XSx8}},
	quant.MXFP4:  {quant: []tileFunc{tileAVX512MXFP4x1, tileAVX512MXFP4x2, tileAVX512MXFP4x4, tileAVX512MXFP4x8}},
	quant.F32:    {floatOne: tileAVX512F32x1, floatFour: tileAVX512F32x4},
	quant.F16:    {floatOne: tileAVX512F16x1, floatFour: tileAVX512F16x4},
	quant.BF16:   {floatOne: tileAVX512BF16x1, floatFour: tileAVX512BF16x4},
}

// tilesAMX has a larger tile than tilesAVX512 for quantised weights; what it leaves of the rows is for those of eight and fewer.
var tilesAMX = func() map[quant.Type]*tiles {
	all := maps.Clone(tilesAVX512)
	for t, more := range map[quant.Type][]tileFunc{
		quant.Q8_0:   {tileAVX512Q8_0x8, tileAMXQ8_0x16},
		quant.Q4_0:   {tileAVX512Q4_0x8, tileAMXQ4_0x16},
		quant.Q4_1:   {tileAMXQ4_1x16},
		quant.Q5_0:   {tileAMXQ5_0x16},
		quant.Q5_1:   {tileAMXQ5_1x16},
		quant.Q4_K:   {tileAMXQ4_Kx16},
		quant.Q5_K:   {tileAMXQ5_Kx16},
		quant.Q6_K:   {tileAMXQ6_Kx16},
		quant.Q3_K:   {tileAMXQ3_Kx16},
		quant.IQ4_NL: {tileAMXIQ4_NLx16},
		quant.IQ4_XS: {tileAMXIQ4_XSx16},
		quant.MXFP4:  {tileAMXMXFP4x16},
	} {
		all[t] = &tiles{quant: append(slices.Clone(tilesAVX512[t].quant), more...)}
	}
	return all
}()
