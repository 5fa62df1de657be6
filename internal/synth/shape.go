// SPDX-License-Identifier: MIT

// Package synth makes random Llama-architecture models of real shapes, for benchmarks: what they say means nothing, but they take the
// memory and the time of real ones, with activations of ordinary size at every depth, and llama.cpp loads them. The same shape, type and
// seed give the same file on every platform, whatever the number of threads. Tensors are made row by row: no model is ever whole in
// memory. The coordinator calls it; package testmodel, for tests, shares its vocabulary. Functions are safe for concurrent use.
package synth

import (
	"fmt"
	"strings"
)

// Shape is the size of a model.
type Shape struct {
	Name                                       string
	Layers, Hidden, FFN, Heads, KVHeads, Vocab int
	Experts, Used                              int // of a mixture, each with a feed-forward network of FFN, and how many a token goes through; 0: none
}

var shapes = []Shape{
	{Name: "tiny", Layers: 32, Hidden: 256, FFN: 768, Heads: 8, KVHeads: 4, Vocab: 4096},
	{Name: "0.4b", Layers: 32, Hidden: 1024, FFN: 2816, Heads: 16, KVHeads: 8, Vocab: 32000},
	{Name: "1.5b", Layers: 32, Hidden: 2048, FFN: 5632, Heads: 32, KVHeads: 4, Vocab: 32000},
	{Name: "7b", Layers: 32, Hidden: 4096, FFN: 11008, Heads: 32, KVHeads: 32, Vocab: 32000}, // as Llama 2 7B
	{Name: "moe", Layers: 24, Hidden: 1024, FFN: 512, Heads: 16, KVHeads: 4, Vocab: 32000, Experts: 32, Used: 4},
}

// contextLength leaves room for a generation behind a prompt of 4096 tokens.
const contextLength = 8192

// ParseShape finds a shape by name.
func ParseShape(name string) (*Shape, error) {
	var known []string
	for i := range shapes {
		if strings.EqualFold(shapes[i].Name, name) {
			return &shapes[i], nil
		}
		known = append(known, shapes[i].Name)
	}
	return nil, fmt.Errorf("shape %q: want one of %s", name, strings.Join(known, ", "))
}

// HeadDim returns the size of an attention head.
func (s *Shape) HeadDim() int { return s.Hidden / s.Heads }
