// SPDX-License-Identifier: MIT

package tokenizer

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"unicode"

	"github.com/shardnode/shardnode/pkg/gguf"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// endNames are control tokens that end a text or a turn whatever the file's own keys say.
var endNames = []string{
	"<|endoftext|>", "<|im_end|>", "<|eot_id|>", "<|end_of_text|>", "<|eom_id|>", "<end_of_turn>", "<|end|>", "</s>",
	"<|return|>", "<|call|>",
}

// specialTokens is what a model has besides words.
type specialTokens struct {
	bos, eos       int32 // noToken if absent
	addBOS, addEOS bool
	ends           map[protocol.TokenID]bool

	split []splitToken // tokens to be split from text before anything else, sorted by name
	first [256]bool    // the bytes they begin with
}

// splitToken is a token that text is searched for.
type splitToken struct {
	name   string
	id     int32
	parsed bool // only with ParseSpecial
	strips bool // white space behind it is dropped
}

// specialDefaults is what a tokenizer model implies where a file has no key.
type specialDefaults struct {
	addBOS            bool
	bos, eos, unknown int32
}

func readSpecial(meta *gguf.Metadata, v *vocab, d specialDefaults) (specialTokens, error) {
	s := specialTokens{ends: map[protocol.TokenID]bool{}}
	var eot, eom int32
	for _, k := range []struct {
		key string
		def int32
		dst *int32
	}{
		{"bos", d.bos, &s.bos}, {"eos", d.eos, &s.eos}, {"eot", noToken, &eot}, {"eom", noToken, &eom},
	} {
		var err error
		if *k.dst, err = readTokenID(meta, "tokenizer.ggml."+k.key+"_token_id", len(v.text), k.def); err != nil {
			return s, err
		}
	}
	var err error
	if s.addBOS, err = readAdd(meta, "tokenizer.ggml.add_bos_token", d.addBOS, s.bos); err != nil {
		return s, err
	}
	if s.addEOS, err = readAdd(meta, "tokenizer.ggml.add_eos_token", false, s.eos); err != nil {
		return s, err
	}
	for _, id := range []int32{s.eos, eot, eom} {
		if id != noToken {
			s.ends[protocol.TokenID(id)] = true
		}
	}
	for _, id := range namedEnds(v) {
		s.ends[protocol.TokenID(id)] = true
	}
	s.buildSplitter(v, stripsSpace(meta))
	return s, nil
}

// readTokenID reads the ID of a special token; def, where it lies in the vocabulary, if the file has no such key.
func readTokenID(meta *gguf.Metadata, key string, vocab int, def int32) (int32, error) {
	n, err := meta.Uint(key)
	switch {
	case errors.Is(err, gguf.ErrNoKey):
		if int(def) >= vocab {
			return noToken, nil
		}
		return def, nil
	case err != nil:
		return noToken, err
	case n >= uint64(vocab):
		return noToken, fmt.Errorf("%s: %d lies outside the vocabulary of %d tokens", key, n, vocab)
	}
	return int32(n), nil
}

// readAdd reads whether a token is to be added to every text. Only a file that asks for a token it lacks is wrong.
func readAdd(meta *gguf.Metadata, key string, def bool, id int32) (bool, error) {
	add, err := meta.Bool(key)
	if errors.Is(err, gguf.ErrNoKey) {
		return def && id != noToken, nil
	}
	if err != nil {
		return false, err
	}
	if add && id == noToken {
		return false, fmt.Errorf("%s is true but the file names no such token", key)
	}
	return add, nil
}

// namedEnds returns the tokens in endNames that the file does not call words.
func namedEnds(v *vocab) []int32 {
	// In the harmony format (it has both of these) <|end|> closes one message of several, not the answer.
	_, returns := v.ids["<|return|>"]
	_, calls := v.ids["<|call|>"]
	var ids []int32
	for _, name := range endNames {
		id, ok := v.ids[name]
		if !ok || name == "<|end|>" && returns && calls {
			continue
		}
		if k := v.kind(id); k == kindControl || k == kindUserDefined {
			ids = append(ids, id)
		}
	}
	return ids
}

// stripsSpace reports whether white space behind the special tokens is dropped, which GGUF has no key for: so it is in Phi-3 and 3.5.
func stripsSpace(meta *gguf.Metadata) bool {
	arch, _ := meta.String("general.architecture")
	model, _ := meta.String("tokenizer.ggml.model")
	return arch == "phi3" && model == "llama"
}

// keepsSpace are the tokens of such models that do not.
func keepsSpace(name string) bool { return name == "<unk>" || name == "<s>" || name == "<|endoftext|>" }

func (s *specialTokens) buildSplitter(v *vocab, strips bool) {
	for i, text := range v.text {
		k := v.kind(int32(i))
		if text == "" || k != kindControl && k != kindUnknown && k != kindUserDefined {
			continue
		}
		s.split = append(s.split, splitToken{name: text, id: int32(i), parsed: k != kindUserDefined, strips: strips && !keepsSpace(text)})
		s.first[text[0]] = true
	}
	slices.SortFunc(s.split, func(a, b splitToken) int { return strings.Compare(a.name, b.name) })
}

// fragment is a special token or, where token is noToken, plain text.
type fragment struct {
	token int32
	text  string
}

// partition splits special tokens from text, from left to right, the longest where several begin. Control and unknown tokens are text
// unless parse is set; user-defined ones never are.
func (s *specialTokens) partition(text string, parse bool) []fragment {
	var frags []fragment
	start := 0
	for i := 0; i < len(text); {
		found, ok := s.longest(text[i:], parse)
		if !ok {
			i++
			continue
		}
		if start < i {
			frags = append(frags, fragment{noToken, text[start:i]})
		}
		frags = append(frags, fragment{found.id, found.name})
		i += len(found.name)
		if found.strips {
			i = len(text) - len(strings.TrimLeftFunc(text[i:], unicode.IsSpace))
		}
		start = i
	}
	if start < len(text) {
		frags = append(frags, fragment{noToken, text[start:]})
	}
	return frags
}

// longest returns the longest special token that text begins with. It narrows the sorted names down byte by byte.
func (s *specialTokens) longest(text string, parse bool) (found splitToken, ok bool) {
	if !s.first[text[0]] {
		return found, false
	}
	names := s.split
	for n := 1; n <= len(text) && len(names) > 0; n++ {
		lo, _ := slices.BinarySearchFunc(names, text[:n], compareNames)
		names = names[lo:]
		hi := sort.Search(len(names), func(i int) bool { return !strings.HasPrefix(names[i].name, text[:n]) })
		names = names[:hi]
		if hi > 0 && len(names[0].name) == n && (parse || !names[0].parsed) {
			found, ok = names[0], true
		}
	}
	return found, ok
}

func compareNames(t splitToken, name string) int { return strings.Compare(t.name, name) }
