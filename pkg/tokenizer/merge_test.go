// SPDX-License-Identifier: MIT

package tokenizer

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// naiveBPE joins the earliest pair in the merge list, the leftmost of equals, until there is none.
func naiveBPE(word string, merges []string) []string {
	parts := strings.Split(word, "")
	for {
		best, at := len(merges), -1
		for i := 1; i < len(parts); i++ {
			if rank := slices.Index(merges, parts[i-1]+" "+parts[i]); rank >= 0 && rank < best {
				best, at = rank, i
			}
		}
		if at < 0 {
			return parts
		}
		parts = slices.Concat(parts[:at-1], []string{parts[at-1] + parts[at]}, parts[at+1:])
	}
}

func TestMergesEqualNaive(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		pieces := []string{"a", "b", "c"}
		var merges []string
		for range rapid.IntRange(0, 12).Draw(t, "merges") {
			l, r := rapid.SampledFrom(pieces).Draw(t, "left"), rapid.SampledFrom(pieces).Draw(t, "right")
			if !slices.Contains(pieces, l+r) {
				pieces = append(pieces, l+r)
				merges = append(merges, l+" "+r)
			}
		}
		tok, err := New(bpeMeta(merges, nil))
		if err != nil {
			t.Fatal(err)
		}
		word := rapid.StringOfN(rapid.RuneFrom([]rune("abc")), 1, 40, -1).Draw(t, "word")
		var got []string
		for _, id := range tok.Encode(word, EncodeOptions{}) {
			got = append(got, string(tok.Piece(id)))
		}
		if want := naiveBPE(word, merges); !slices.Equal(got, want) {
			t.Fatalf("%q with %q: got %q, want %q", word, merges, got, want)
		}
	})
}

// A single word of a quarter of a megabyte must not take quadratic time, which would be minutes.
func TestLongWords(t *testing.T) {
	t.Parallel()
	const size = 1 << 18
	random := make([]byte, size)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range random {
		random[i] = 'a' + byte(r.IntN(26))
	}
	start := time.Now()
	for _, tok := range []*Tokenizer{
		demoTokenizer(t, ""),
		mustNew(t, spmMeta([]string{"a", "aa", "aaaa", "x", "▁", "▁▁", "▁▁▁▁"}, []float32{-1, -2, -3, -4, -5, -6, -7})),
	} {
		for _, text := range []string{
			strings.Repeat("a", size), string(random), strings.Repeat(" ", size), strings.Repeat(" \n", size/2),
			strings.Repeat("<", size), strings.Repeat("'", size), strings.Repeat("1", size), strings.Repeat("\xff", size),
			strings.Repeat("<|im_start|>", size/12),
		} {
			ids := tok.Encode(text, EncodeOptions{ParseSpecial: true})
			want := text
			if _, ok := tok.encoder.(*spm); ok {
				want = " " + text
			}
			if got := tok.DecodeSpecial(ids); string(got) != want {
				t.Errorf("%.20q…: round trip differs", text)
			}
		}
	}
	if d := time.Since(start); d > time.Minute {
		t.Errorf("took %v", d)
	}
}

func BenchmarkEncode(b *testing.B) {
	tok := demoTokenizer(b, "")
	text := strings.Repeat("The quick brown fox jumps over the lazy dog; func main() { fmt.Println(42) }\n", 100)
	var ids []protocol.TokenID
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		ids = tok.Encode(text, EncodeOptions{})
	}
	b.ReportMetric(float64(len(ids)), "tokens")
}
