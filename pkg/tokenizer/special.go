// SPDX-License-Identifier: MIT

package tokenizer

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"

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
	s.buildSplitter(v)
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

func (s *specialTokens) buildSplitter(v *vocab) {
	for i, text := range v.text {
		k := v.kind(int32(i))
		if text == "" || k != kindControl && k != kindUnknown && k != kindUserDefined {
			continue
		}
		s.split = append(s.split, splitToken{name: text, id: int32(i), parsed: k != kindUserDefined})
		s.first[text[0]] = true
	}
	slices.SortFunc(s.split, func(a, b splitToken) int { return strings.Compare(a.name, b.name) })
}

// fragment is a special token or, where token is noToken, plain text.
type fragment struct {
	token int32
	text  string
}

// partition splits special tokens from text: the longest ones first, each wherever it occurs in what is then still
// text, from left to right. Control and unknown tokens are text unless parse is set; user-defined ones never are.
func (s *specialTokens) partition(text string, parse bool) []fragment {
	if text == "" {
		return nil
	}
	frags := []fragment{{noToken, text}}
	for _, found := range s.occurring(text, parse) {
		frags = splitOut(frags, found)
	}
	return frags
}

// occurring returns the special tokens that text holds at all, longest first, equal lengths by ID.
func (s *specialTokens) occurring(text string, parse bool) []fragment {
	var found []fragment
	seen := map[int32]bool{}
	for i := range len(text) {
		if !s.first[text[i]] {
			continue
		}
		for _, t := range s.prefixes(text[i:]) {
			if !seen[t.id] && (parse || !t.parsed) {
				seen[t.id] = true
				found = append(found, fragment{t.id, t.name})
			}
		}
	}
	slices.SortFunc(found, func(a, b fragment) int {
		return cmp.Or(len(b.text)-len(a.text), int(a.token-b.token))
	})
	return found
}

// prefixes returns the special tokens that text begins with. It narrows the sorted names down byte by byte.
func (s *specialTokens) prefixes(text string) []splitToken {
	var found []splitToken
	names := s.split
	for n := 1; n <= len(text) && len(names) > 0; n++ {
		lo, _ := slices.BinarySearchFunc(names, text[:n], compareNames)
		names = names[lo:]
		hi := sort.Search(len(names), func(i int) bool { return !strings.HasPrefix(names[i].name, text[:n]) })
		names = names[:hi]
		if hi > 0 && len(names[0].name) == n {
			found = append(found, names[0])
		}
	}
	return found
}

func compareNames(t splitToken, name string) int { return strings.Compare(t.name, name) }

// splitOut cuts every occurrence of one special token out of the fragments that are still text.
func splitOut(frags []fragment, special fragment) []fragment {
	out := make([]fragment, 0, len(frags))
	for _, f := range frags {
		if f.token != noToken {
			out = append(out, f)
			continue
		}
		for rest := f.text; rest != ""; {
			before, after, found := strings.Cut(rest, special.text)
			if before != "" {
				out = append(out, fragment{noToken, before})
			}
			if found {
				out = append(out, special)
			}
			rest = after
		}
	}
	return out
}
