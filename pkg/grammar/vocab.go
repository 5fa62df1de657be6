// SPDX-License-Identifier: MIT

package grammar

import (
	"bytes"
	"fmt"
	"slices"
)

// Vocab is a vocabulary, ready to be walked along: the texts of its tokens as one tree.
type Vocab struct {
	size    int
	control []uint64 // [words] tokens without a text: a grammar names them by number
	ends    []uint64 // [words] tokens that end an answer

	// The tree without its root, each node before those below it.
	label []byte   // the byte that leads to a node
	depth []uint16 // of a node; 1: below the root
	skip  []int32  // the next node that is not below it
	below []uint16 // classes of the bytes below a node, its own included
	first []int32  // where its tokens begin in tokens; [nodes+1]
	token []int32  // tokens by node
	most  int      // depth of the deepest

	texts []byte   // of all tokens, one after the other
	until []uint32 // [size] where a token's text ends
}

// Bytes are put into classes by what forms tell apart.
const (
	classLower = iota
	classUpper
	classDigit
	classSpace
	classQuote
	classEscape
	classPunctuation
	classControl
	classHigh // no byte of it is a character by itself
	classes
)

var classOf = func() (of [256]uint8) {
	for b := range of {
		switch {
		case b >= 'a' && b <= 'z':
			of[b] = classLower
		case b >= 'A' && b <= 'Z':
			of[b] = classUpper
		case b >= '0' && b <= '9':
			of[b] = classDigit
		case b == ' ':
			of[b] = classSpace
		case b == '"':
			of[b] = classQuote
		case b == '\\':
			of[b] = classEscape
		case b < ' ' || b == 0x7f:
			of[b] = classControl
		case b >= 0x80:
			of[b] = classHigh
		default:
			of[b] = classPunctuation
		}
	}
	return of
}()

// words is how many words a set of size bits takes.
func words(size int) int { return (size + 63) / 64 }

func set(bits []uint64, i int) { bits[i/64] |= 1 << (i % 64) }

func has(bits []uint64, i int) bool { return bits[i/64]>>(i%64)&1 != 0 }

// NewVocab makes a vocabulary. text returns the bytes of a token, nil for one without: those can be drawn only where a grammar names
// them. end reports whether a token ends an answer.
func NewVocab(size int, text func(token int) []byte, end func(token int) bool) (*Vocab, error) {
	const maxSize, maxText = 1 << 24, 1 << 12
	if size < 1 || size > maxSize {
		return nil, fmt.Errorf("a vocabulary of %d tokens", size)
	}
	v := &Vocab{size: size, control: make([]uint64, words(size)), ends: make([]uint64, words(size))}
	order := make([]int32, 0, size)
	for t := range size {
		if end(t) {
			set(v.ends, t)
		}
		v.texts = append(v.texts, text(t)...)
		v.until = append(v.until, uint32(len(v.texts)))
		switch n := len(text(t)); {
		case n == 0 || end(t):
			set(v.control, t)
		case n > maxText:
			return nil, fmt.Errorf("token %d has %d bytes, at most %d are allowed", t, n, maxText)
		default:
			order = append(order, int32(t))
		}
	}
	slices.SortStableFunc(order, func(a, b int32) int { return bytes.Compare(v.text(a), v.text(b)) })
	v.build(order)
	return v, nil
}

// text returns the bytes of a token.
func (v *Vocab) text(token int32) []byte {
	begin := uint32(0)
	if token > 0 {
		begin = v.until[token-1]
	}
	return v.texts[begin:v.until[token]]
}

// build makes the tree of tokens in the order of their texts.
func (v *Vocab) build(order []int32) {
	var path []int32 // nodes on the way to the last token
	var last []byte
	closeTo := func(depth int) {
		for len(path) > depth {
			n := path[len(path)-1]
			v.skip[n] = int32(len(v.label))
			if path = path[:len(path)-1]; len(path) > 0 {
				v.below[path[len(path)-1]] |= v.below[n]
			}
		}
	}
	for _, t := range order {
		b := v.text(t)
		same := 0
		for same < min(len(b), len(last)) && b[same] == last[same] {
			same++
		}
		closeTo(same)
		for i := same; i < len(b); i++ {
			path = append(path, int32(len(v.label)))
			v.label = append(v.label, b[i])
			v.depth = append(v.depth, uint16(i+1))
			v.skip, v.below = append(v.skip, 0), append(v.below, 1<<classOf[b[i]])
			v.first = append(v.first, int32(len(v.token)))
		}
		v.token = append(v.token, t)
		v.most = max(v.most, len(b))
		last = b
	}
	closeTo(0)
	v.first = append(v.first, int32(len(v.token)))
	v.label, v.depth, v.skip = slices.Clip(v.label), slices.Clip(v.depth), slices.Clip(v.skip)
	v.below, v.first = slices.Clip(v.below), slices.Clip(v.first)
}
