// SPDX-License-Identifier: MIT

package tokenizer

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
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
		{"starcoder", "x12 345 'll", []string{"x", "1", "2", " ", "3", "4", "5", " '", "ll"}},
		{"falcon", "a, b  12345!~x", []string{"a", ",", " b", " ", " ", "123", "45", "!~", "x"}},
		{"gpt-4o", "HTTPServer's IT'S aB/c 1234 é\u00c9x\u4e2d \u4e2d\u6587X ?//\n", []string{
			"HTTPServer's", " IT'S", " a", "B", "/c", " ", "123", "4", " é", "\u00c9x\u4e2d", " \u4e2d\u6587", "X", " ?//\n",
		}},
		{"tekken", "IT'S 12", []string{"IT", "'S", " ", "1", "2"}},
		{"deepseek-coder", "a, b\n\n1x\u4e2d\u6587", []string{"a", ",", " b", "\n", "\n", "1", "x", "\u4e2d\u6587"}},
		{"deepseek-v3", "a_b (c) 12345\u4e2d\u6587x e\u0301~~\u200d\u200d1", []string{
			"a", "_b", " (", "c", ")", " ", "123", "45", "\u4e2d\u6587", "x", " e\u0301", "~~", "\u200d\u200d", "1",
		}},
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

// TestPublishedExpressions compares with the words that the published regular expressions cut random texts into, found
// with the Python package regex. Rows are the words' lengths in bytes.
func TestPublishedExpressions(t *testing.T) {
	t.Parallel()
	var data struct {
		Texts []string
		Words map[string][]string
	}
	if err := json.Unmarshal([]byte(readFile(t, filepath.Join("testdata", "words.json"))), &data); err != nil {
		t.Fatal(err)
	}
	for name := range strings.SplitSeq(knownPreTokenizers, ", ") {
		rows := data.Words[name]
		if len(rows) != len(data.Texts) {
			t.Fatalf("%s: %d rows for %d texts", name, len(rows), len(data.Texts))
		}
		p, err := preTokenizerFor(name)
		if err != nil {
			t.Fatal(err)
		}
		for i, text := range data.Texts {
			var got []string
			p.words(text, func(w string) { got = append(got, w) })
			var want []string
			rest := text
			for _, n := range parseIDs(t, rows[i]) {
				want, rest = append(want, rest[:n]), rest[n:]
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s %q:\n got %q\nwant %q", name, text, got, want)
			}
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

// A text of a quarter of a megabyte must not take quadratic time, which would be minutes.
func TestPreTokenizersLinear(t *testing.T) {
	t.Parallel()
	const size = 1 << 18
	start := time.Now()
	for _, name := range strings.Split(knownPreTokenizers, ", ") {
		p, err := preTokenizerFor(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, unit := range []string{"a", "A", "aA", " ", " \n", "\n", "\t ", "'", "1", "!", " !", "\xff", "\u4e2d", "\u200d", "\u0301", "\u00a0"} {
			text := strings.Repeat(unit, size/len(unit))
			total := 0
			p.words(text, func(w string) { total += len(w) })
			if total != len(text) {
				t.Errorf("%s %q: the words have %d of %d bytes", name, unit, total, len(text))
			}
		}
	}
	if d := time.Since(start); d > time.Minute {
		t.Errorf("took %v", d)
	}
}
