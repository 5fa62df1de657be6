// SPDX-License-Identifier: MIT

package tokenizer

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/shardnode/shardnode/pkg/gguf"
)

// Limits on what metadata may ask for. The largest vocabularies in use have 262,144 tokens, the longest tokens (runs of
// spaces) some hundreds of bytes.
const (
	maxVocab    = 1 << 21
	maxTokenLen = 1 << 12 // bytes
	maxMerges   = 1 << 22
)

// noToken stands for a special token that the model lacks.
const noToken int32 = -1

// kind is GGUF's token type.
type kind uint8

const (
	kindNormal      kind = 1
	kindUnknown     kind = 2
	kindControl     kind = 3
	kindUserDefined kind = 4
	kindUnused      kind = 5
	kindByte        kind = 6
)

// vocab is the token table: each token's text as the file spells it, and the bytes it stands for.
type vocab struct {
	text   []string
	kinds  []kind           // nil: all normal, as in files without the key
	scores []float32        // nil: none in the file
	ids    map[string]int32 // by text; empty texts left out
	pieces []byte           // all tokens' bytes, one after the other
	ends   []uint32         // ends[i] is where token i's bytes end in pieces
}

func readVocab(meta *gguf.Metadata, model string) (*vocab, error) {
	text, err := meta.Strings("tokenizer.ggml.tokens")
	if err != nil {
		return nil, err
	}
	if len(text) == 0 || len(text) > maxVocab {
		return nil, fmt.Errorf("tokenizer.ggml.tokens: %d tokens, want 1 to %d", len(text), maxVocab)
	}
	v := &vocab{text: text, ids: make(map[string]int32, len(text))}
	for i, s := range text {
		if len(s) > maxTokenLen {
			return nil, fmt.Errorf("tokenizer.ggml.tokens: token %d has %d bytes, the limit is %d", i, len(s), maxTokenLen)
		}
		if s == "" {
			continue // a hole in the numbering: nothing encodes to it
		}
		if first, ok := v.ids[s]; ok {
			return nil, fmt.Errorf("tokenizer.ggml.tokens: %q is both token %d and token %d", s, first, i)
		}
		v.ids[s] = int32(i)
	}
	if err := v.readKinds(meta); err != nil {
		return nil, err
	}
	if err := v.readScores(meta); err != nil {
		return nil, err
	}
	return v, v.buildPieces(model == "gpt2")
}

func (v *vocab) readKinds(meta *gguf.Metadata) error {
	const key = "tokenizer.ggml.token_type"
	types, err := meta.Ints(key)
	if errors.Is(err, gguf.ErrNoKey) {
		return nil
	}
	if err != nil {
		return err
	}
	if len(types) != len(v.text) {
		return fmt.Errorf("%s: %d entries for %d tokens", key, len(types), len(v.text))
	}
	v.kinds = make([]kind, len(types))
	for i, n := range types {
		if n < 0 || n > int32(kindByte) {
			return fmt.Errorf("%s: token %d has type %d, want 0 to %d", key, i, n, kindByte)
		}
		v.kinds[i] = kind(n)
	}
	for _, id := range namedEnds(v) {
		v.kinds[id] = kindControl // some converters call them user-defined, and text from users could then end a turn
	}
	return nil
}

func (v *vocab) readScores(meta *gguf.Metadata) error {
	const key = "tokenizer.ggml.scores"
	scores, err := meta.Floats(key)
	if errors.Is(err, gguf.ErrNoKey) {
		return nil
	}
	if err != nil {
		return err
	}
	if len(scores) != len(v.text) {
		return fmt.Errorf("%s: %d entries for %d tokens", key, len(scores), len(v.text))
	}
	for i, x := range scores {
		if x != x {
			return fmt.Errorf("%s: the score of token %d is not a number", key, i)
		}
	}
	v.scores = scores
	return nil
}

// buildPieces works out the bytes that each token stands for.
func (v *vocab) buildPieces(byteLevel bool) error {
	v.ends = make([]uint32, len(v.text))
	for i, s := range v.text {
		switch k := v.kind(int32(i)); {
		case k == kindByte:
			b, ok := parseByteToken(s)
			if !ok {
				return fmt.Errorf("tokenizer.ggml.tokens: byte token %d is %q, want <0x00> to <0xFF>", i, s)
			}
			v.pieces = append(v.pieces, b)
		case k == kindControl || k == kindUnknown || k == kindUserDefined:
			v.pieces = append(v.pieces, s...)
		case byteLevel:
			v.pieces = appendByteLevelDecoded(v.pieces, s)
		default:
			v.pieces = append(v.pieces, strings.ReplaceAll(s, escapedSpace, " ")...)
		}
		if uint64(len(v.pieces)) > 1<<32-1 {
			return fmt.Errorf("tokenizer.ggml.tokens: the vocabulary's text exceeds 4 GiB")
		}
		v.ends[i] = uint32(len(v.pieces))
	}
	return nil
}

// parseByteToken reads "<0x0A>".
func parseByteToken(s string) (byte, bool) {
	if len(s) != 6 || s[:3] != "<0x" || s[5] != '>' {
		return 0, false
	}
	n, err := strconv.ParseUint(s[3:5], 16, 8)
	return byte(n), err == nil
}

func (v *vocab) kind(id int32) kind {
	if v.kinds == nil {
		return kindNormal
	}
	return v.kinds[id]
}

// plain returns the token spelt s if ordinary text may become it. Control, unknown and byte tokens are left out, as in
// SentencePiece: text that merely looks like one must not turn into it.
func (v *vocab) plain(s string) (int32, bool) {
	id, ok := v.ids[s]
	if !ok {
		return 0, false
	}
	k := v.kind(id)
	return id, k != kindControl && k != kindUnknown && k != kindByte
}

func (v *vocab) piece(id int32) []byte {
	start := uint32(0)
	if id > 0 {
		start = v.ends[id-1]
	}
	end := v.ends[id]
	return v.pieces[start:end:end]
}
