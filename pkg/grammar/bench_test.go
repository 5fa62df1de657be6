// SPDX-License-Identifier: MIT

package grammar

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// object is a JSON object with a string, a number and a list, as a schema's grammar has it.
const object = `root ::= "{" ws "\"name\"" ":" ws string "," ws "\"age\"" ":" ws number "," ws "\"tags\"" ":" ws "[" ws (string ("," ws string)* ws)? "]" ws "}"
ws ::= (" " | "\n" [ \t]{0,32})?
string ::= "\"" ([^"\\\x00-\x1f] | "\\" (["\\/bfnrt] | "u" ([0-9a-cA-CeEfF] [0-9a-fA-F]{3} | [dD] [0-7] [0-9a-fA-F]{2})))* "\""
number ::= "-"? ("0" | [1-9] [0-9]{0,15}) ("." [0-9]{1,16})? ([eE] [-+]? [0-9]{1,2})?`

// largeVocab is as large as Qwen's: bytes, words with and without a space before them, punctuation, characters of three bytes.
func largeVocab(tb testing.TB, size int) *Vocab {
	tb.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	seen, texts := map[string]bool{}, make([][]byte, 0, size)
	add := func(s string) {
		if !seen[s] && len(texts) < size-1 {
			seen[s] = true
			texts = append(texts, []byte(s))
		}
	}
	for b := range 256 {
		add(string([]byte{byte(b)}))
	}
	for len(texts) < size-1 {
		switch word := ""; rng.IntN(8) {
		case 0:
			for range 1 + rng.IntN(3) {
				word += string(rune(0x4e00 + rng.IntN(5000)))
			}
			add(word)
		case 1:
			for range 1 + rng.IntN(4) {
				word += string("{}[]\":, \n()<>./"[rng.IntN(15)])
			}
			add(word)
		default:
			for range 2 + rng.IntN(8) {
				word += string(rune('a' + rng.IntN(26)*rng.IntN(26)/26))
			}
			if rng.IntN(2) == 0 {
				word = " " + word
			}
			add(word)
		}
	}
	v, err := NewVocab(size, func(t int) []byte {
		if t < len(texts) {
			return texts[t]
		}
		return nil
	}, func(t int) bool { return t == size-1 })
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

// BenchmarkAllowed is the set of allowed tokens where it was never asked for: within a text, where nearly all may come, and between texts,
// where few may. "again" is within a text from the second token on.
func BenchmarkAllowed(b *testing.B) {
	g, err := Compile(object)
	if err != nil {
		b.Fatal(err)
	}
	for _, size := range []int{32_000, 151_936} {
		v := largeVocab(b, size)
		for _, c := range []struct{ name, text string }{{"text", `{"name":"`}, {"between", `{"name":"Bo",`}, {"number", `{"name":"Bo","age":`}} {
			for _, again := range []bool{false, true} {
				name := c.name
				if again {
					name += "-again"
				}
				m, err := NewMatcher(g, v)
				if err != nil {
					b.Fatal(err)
				}
				ids := tokens(c.text)
				b.Run(fmt.Sprintf("%s/%d", name, size), func(b *testing.B) {
					for b.Loop() {
						if _, err := m.Allowed(ids); err != nil {
							b.Fatal(err)
						}
						if !again {
							m.at.mask = nil
						}
					}
				})
			}
		}
	}
}

// BenchmarkAnswer is a whole answer, a token a byte, with a matcher of its own: nothing is remembered at first.
func BenchmarkAnswer(b *testing.B) {
	g, err := Compile(object)
	if err != nil {
		b.Fatal(err)
	}
	v := largeVocab(b, 151_936)
	ids := tokens(`{"name": "Bo Diddley", "age": 79, "tags": ["blues", "rock and roll", "guitar"]}`)
	for b.Loop() {
		m, err := NewMatcher(g, v)
		if err != nil {
			b.Fatal(err)
		}
		for i := range ids {
			if _, err := m.Allowed(ids[:i]); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(ids)), "ns/token")
}

// BenchmarkVocab is what a node does once, when the first grammar comes.
func BenchmarkVocab(b *testing.B) {
	for b.Loop() {
		largeVocab(b, 151_936)
	}
}
