// SPDX-License-Identifier: MIT

package tokenizer

import (
	"slices"
	"strings"
	"testing"
)

func TestPreTokenizers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pre, text string
		want      []string
	}{
		{"gpt-2", "I'm  here, 12345 x\n\n y ", []string{"I", "'m", " ", " here", ",", " 12345", " x", "\n\n", " y", " "}},
		{"gpt-2", "WE'LL", []string{"WE", "'", "LL"}}, // lower case only
		{"gpt-2", "a\tb", []string{"a", "\t", "b"}},
		{"gpt-2", " ?! \xff\xfe", []string{" ?!", " \xff\xfe"}},
		{"llama-bpe", "I'm  here, 12345 x\n\n y ", []string{"I", "'m", " ", " here", ",", " ", "123", "45", " x", "\n\n", " y", " "}},
		{"llama-bpe", "WE'LL 'rEx", []string{"WE", "'LL", " '", "rEx"}},
		{"llama-bpe", "a\tb (c) d!\r\n\n  e", []string{"a", "\tb", " (", "c", ")", " d", "!\r\n\n", " ", " e"}},
		{"llama-bpe", "  \n \t\n  x", []string{"  \n \t\n", " ", " x"}},
		{"llama-bpe", "½²٣४x", []string{"½²٣", "४", "x"}},
		{"llama-bpe", "\u00a0a\u3000b\u0085c", []string{"\u00a0a", "\u3000b", "\u0085c"}},
		{"qwen2", "12 345", []string{"1", "2", " ", "3", "4", "5"}},
		{"qwen2", "x's 'S", []string{"x", "'s", " '", "S"}},
		{"qwen2", "", nil},
	} {
		p, err := preTokenizerFor(c.pre)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		p.words(c.text, func(w string) { got = append(got, w) })
		if !slices.Equal(got, c.want) {
			t.Errorf("%s %q:\n got %q\nwant %q", c.pre, c.text, got, c.want)
		}
	}
}

func TestKnownPreTokenizers(t *testing.T) {
	t.Parallel()
	for _, name := range append(strings.Split(knownPreTokenizers, ", "), "llama3", "llama-v3") {
		if _, err := preTokenizerFor(name); err != nil {
			t.Error(err)
		}
	}
}
