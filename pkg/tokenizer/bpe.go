// SPDX-License-Identifier: MIT

package tokenizer

import (
	"fmt"
	"strings"

	"github.com/shardnode/shardnode/pkg/gguf"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// bpe encodes with a byte-level vocabulary: the pre-tokenizer cuts text into words, and within a word the neighbours
// that come earliest in the merge list join, until none can.
//
// Pieces are numbered: tokens by their ID, pieces that occur only in the merge list (or bytes that have no token) from
// the vocabulary's size up.
type bpe struct {
	vocab  *vocab
	pre    preTokenizer
	bytes  [256]int32 // a byte's piece
	merges map[[2]int32]mergeRule
	words  map[string]int32 // tokens by the bytes they stand for; only with pre.ignoreMerges
}

type mergeRule struct {
	rank int32 // position in the merge list
	id   int32 // the joined piece
}

func newBPE(meta *gguf.Metadata, v *vocab, pre preTokenizer) (*bpe, error) {
	const key = "tokenizer.ggml.merges"
	list, err := meta.Strings(key)
	if err != nil {
		return nil, err
	}
	if len(list) > maxMerges {
		return nil, fmt.Errorf("%s: %d merges, the limit is %d", key, len(list), maxMerges)
	}
	b := &bpe{vocab: v, pre: pre, merges: make(map[[2]int32]mergeRule, len(list))}
	number := numbering{vocab: v, extra: map[string]int32{}}
	for i := range b.bytes {
		b.bytes[i] = number.of(string(byteToRune[i]))
	}
	for rank, m := range list {
		if len(m) > 2*maxTokenLen+1 {
			return nil, fmt.Errorf("%s: merge %d has %d bytes, the limit is %d", key, rank, len(m), 2*maxTokenLen+1)
		}
		left, right, ok := strings.Cut(m, " ")
		if !ok || left == "" || right == "" {
			return nil, fmt.Errorf("%s: merge %d is %q, want two pieces and a space between", key, rank, m)
		}
		pair := [2]int32{number.of(left), number.of(right)}
		if _, dup := b.merges[pair]; !dup { // the first mention counts
			b.merges[pair] = mergeRule{rank: int32(rank), id: number.of(left + right)}
		}
	}
	if pre.ignoreMerges {
		b.words = make(map[string]int32, len(v.text))
		for s := range v.ids {
			if id, ok := v.plain(s); ok {
				if raw, ok := byteLevelDecoded(s); ok {
					b.words[raw] = id
				}
			}
		}
	}
	return b, nil
}

// numbering gives each spelling its piece number.
type numbering struct {
	vocab *vocab
	extra map[string]int32
}

func (n *numbering) of(s string) int32 {
	if id, ok := n.vocab.ids[s]; ok {
		return id
	}
	id, ok := n.extra[s]
	if !ok {
		id = int32(len(n.vocab.text) + len(n.extra))
		n.extra[s] = id
	}
	return id
}

func (b *bpe) encode(dst []protocol.TokenID, text string, _ bool) []protocol.TokenID {
	m := merger{pair: b.pair}
	b.pre.words(text, func(word string) {
		if id, ok := b.words[word]; ok {
			dst = append(dst, protocol.TokenID(id))
			return
		}
		m.reset()
		for i := range len(word) {
			m.add(i, i+1, b.bytes[word[i]])
		}
		m.run()
		for _, s := range m.symbols {
			if s.start < s.end {
				dst = b.appendPiece(dst, word, s)
			}
		}
	})
	return dst
}

func (b *bpe) pair(l, r symbol) (float64, int32, bool) {
	rule, ok := b.merges[[2]int32{l.id, r.id}]
	return float64(rule.rank), rule.id, ok
}

// appendPiece appends a piece's token, or, where a merge made something that is no token, those of its bytes. A byte
// that the vocabulary lacks is left out: there is no token to say it with.
func (b *bpe) appendPiece(dst []protocol.TokenID, word string, s symbol) []protocol.TokenID {
	tokens := int32(len(b.vocab.text))
	if s.id < tokens {
		return append(dst, protocol.TokenID(s.id))
	}
	for i := s.start; i < s.end; i++ {
		if id := b.bytes[word[i]]; id < tokens {
			dst = append(dst, protocol.TokenID(id))
		}
	}
	return dst
}
