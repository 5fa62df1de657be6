// SPDX-License-Identifier: MIT

package engine

import (
	"encoding/binary"
	"slices"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// The simulation's model. What takes the place of hidden states is a number that depends on everything that must be right: the tokens before
// it, their order, each layer they went through, and where they were rounded. So a row that was left out, fed twice, or computed
// from another's outputs gives other tokens.

const (
	toyHidden = 2  // elements of hidden states: 8 bytes of f32, 4 of f16
	toyVocab  = 40 // tokens
)

// mix is a 64-bit hash of two values (splitmix64's finaliser).
func mix(a, b uint64) uint64 {
	x := a*0x9e3779b97f4a7c15 + b + 0x632be59bd9b4e019
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// toyRound is what a wire of f16 does.
func toyRound(x uint64) uint64 { return x >> 32 << 32 }

// toyCache holds, for each layer of a range, what "attention" sees of the rows so far.
type toyCache struct {
	layers protocol.LayerRange
	sums   [][]uint64 // [rows][layers]
}

// forward computes a row from its input and appends it. rounds are layer boundaries.
func (c *toyCache) forward(x uint64, rounds []uint32) uint64 {
	n := c.layers.Len()
	row := make([]uint64, n)
	for i := range n {
		layer := uint64(c.layers.From + i)
		var before uint64
		if len(c.sums) > 0 {
			before = c.sums[len(c.sums)-1][i]
		}
		row[i] = mix(before, mix(x, layer))
		x = mix(mix(x, row[i]), layer)
		if _, ok := slices.BinarySearch(rounds, uint32(c.layers.From+i+1)); ok && i+1 < n {
			x = toyRound(x)
		}
	}
	c.sums = append(c.sums, row)
	return x
}

func toyEmbed(t protocol.TokenID) uint64 { return mix(uint64(t), 0xe3be) }

// toyDraw draws a token from a row's "logits", by the history as it was before.
func toyDraw(logits uint64, history []protocol.TokenID, seed uint64) protocol.TokenID {
	h := mix(seed, uint64(len(history)))
	for _, t := range history {
		h = mix(h, uint64(t))
	}
	return protocol.TokenID(mix(logits, h) % toyVocab)
}

func toyEncode(dst []byte, x uint64, d protocol.DType) []byte {
	if d == protocol.F16 {
		return binary.LittleEndian.AppendUint32(dst, uint32(x>>32))
	}
	return binary.LittleEndian.AppendUint64(dst, x)
}

func toyDecode(b []byte, d protocol.DType) uint64 {
	if d == protocol.F16 {
		return uint64(binary.LittleEndian.Uint32(b)) << 32
	}
	return binary.LittleEndian.Uint64(b)
}

// toyLogits is a row of [toyVocab] float32 that stands for x.
func toyLogits(dst []byte, x uint64) []byte {
	at := len(dst)
	dst = slices.Grow(dst, 4*toyVocab)[:at+4*toyVocab]
	clear(dst[at:])
	binary.LittleEndian.PutUint64(dst[at:], x)
	return dst
}

// toyEnds are the ends of the toy model, for coordinators that have them.
type toyEnds struct{}

func (toyEnds) Embed(dst []float32, tokens []protocol.TokenID) error {
	for i, t := range tokens {
		x := toyEmbed(t)
		dst[toyHidden*i], dst[toyHidden*i+1] = bitsOf(uint32(x)), bitsOf(uint32(x>>32))
	}
	return nil
}

func (toyEnds) Logits(dst, hidden []float32) error {
	clear(dst)
	for i := range len(hidden) / toyHidden {
		copy(dst[toyVocab*i:], hidden[toyHidden*i:][:toyHidden])
	}
	return nil
}

func (toyEnds) draw(logits []float32, history []protocol.TokenID, p protocol.Sampling) protocol.TokenID {
	return toyDraw(uint64(ofBits(logits[0]))|uint64(ofBits(logits[1]))<<32, history, p.Seed)
}

// toyReference generates on one machine: tokens, and the logits of every row but the last token's.
func toyReference(prompt []protocol.TokenID, n, layers int, rounds []uint32, seed uint64) (tokens []protocol.TokenID, logits []uint64) {
	cache := &toyCache{layers: protocol.LayerRange{To: layers}}
	history := slices.Clone(prompt)
	for row := 0; len(tokens) < n; row++ {
		x := cache.forward(toyEmbed(history[row]), rounds)
		logits = append(logits, x)
		if row >= len(prompt)-1 {
			t := toyDraw(x, history[:row+1], seed)
			tokens, history = append(tokens, t), append(history, t)
		}
	}
	return tokens, logits
}
