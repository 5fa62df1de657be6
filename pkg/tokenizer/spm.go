// SPDX-License-Identifier: MIT

package tokenizer

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/shardnode/shardnode/pkg/gguf"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// escapedSpace (U+2581) stands for a space in SentencePiece vocabularies.
const escapedSpace = "\u2581"

// spm encodes with a SentencePiece BPE vocabulary: neighbours whose joined spelling is a token join, the one with the
// highest score first. Characters without a token become byte tokens.
type spm struct {
	vocab          *vocab
	addSpacePrefix bool
	bytes          [256]int32 // <0x00> to <0xFF>; the unknown token, or noToken, where absent
	longest        int32      // bytes of the longest token
}

func newSPM(meta *gguf.Metadata, v *vocab) (*spm, error) {
	if v.scores == nil {
		return nil, fmt.Errorf("tokenizer.ggml.scores: %w: a SentencePiece vocabulary needs them", gguf.ErrNoKey)
	}
	s := &spm{vocab: v, addSpacePrefix: true}
	prefix, err := meta.Bool("tokenizer.ggml.add_space_prefix")
	if err == nil {
		s.addSpacePrefix = prefix
	} else if !errors.Is(err, gguf.ErrNoKey) {
		return nil, err
	}
	unknown, err := readTokenID(meta, "tokenizer.ggml.unknown_token_id", len(v.text), 0)
	if err != nil {
		return nil, err
	}
	for b := range s.bytes {
		s.bytes[b] = unknown
		if id, ok := v.ids[fmt.Sprintf("<0x%02X>", b)]; ok {
			s.bytes[b] = id
		}
	}
	for _, t := range v.text {
		s.longest = max(s.longest, int32(len(t)))
	}
	return s, nil
}

func (s *spm) encode(dst []protocol.TokenID, text string, afterSpecial bool) []protocol.TokenID {
	if s.addSpacePrefix && afterSpecial {
		text = " " + text
	}
	text = strings.ReplaceAll(text, " ", escapedSpace)
	m := merger{pair: func(l, r symbol) (float64, int32, bool) {
		if r.end-l.start > s.longest {
			return 0, 0, false
		}
		id, ok := s.vocab.plain(text[l.start:r.end])
		if !ok {
			return 0, 0, false
		}
		return -float64(s.vocab.scores[id]), id, true
	}}
	for i := 0; i < len(text); {
		_, n := utf8.DecodeRuneInString(text[i:])
		id, ok := s.vocab.plain(text[i : i+n])
		if !ok {
			id = noToken
		}
		m.add(i, i+n, id)
		i += n
	}
	m.run()
	for _, sym := range m.symbols {
		switch {
		case sym.start == sym.end:
		case sym.id != noToken:
			dst = append(dst, protocol.TokenID(sym.id))
		default:
			for i := sym.start; i < sym.end; i++ {
				if id := s.bytes[text[i]]; id != noToken {
					dst = append(dst, protocol.TokenID(id))
				}
			}
		}
	}
	return dst
}
