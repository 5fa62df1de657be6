// SPDX-License-Identifier: MIT

package tokenizer

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/shardnode/shardnode/pkg/gguf"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// The vectors are llama.cpp's.

var demoMeta = sync.OnceValues(func() (*gguf.Metadata, error) {
	f, err := gguf.Open(filepath.Join("..", "..", "models", "demo-32l-q4_0.gguf"))
	if err != nil {
		return nil, err
	}
	return f.Meta, nil
})

// demoTokenizer is the demo model's, with its pre-tokenizer replaced by pre unless that is "".
func demoTokenizer(tb testing.TB, pre string) *Tokenizer {
	tb.Helper()
	meta, err := demoMeta()
	if err != nil {
		tb.Fatal(err)
	}
	if pre != "" {
		changed := &gguf.Metadata{}
		for _, k := range meta.Keys {
			v, _ := meta.Get(k)
			changed.Set(k, v)
		}
		changed.Set("tokenizer.ggml.pre", pre)
		meta = changed
	}
	return mustNew(tb, meta)
}

func mustNew(tb testing.TB, meta *gguf.Metadata) *Tokenizer {
	tb.Helper()
	tok, err := New(meta)
	if err != nil {
		tb.Fatal(err)
	}
	return tok
}

func sharedData(tb testing.TB, name ...string) string {
	tb.Helper()
	dir := os.Getenv("SHARDNODE_TESTDATA")
	if dir == "" {
		tb.Skip("SHARDNODE_TESTDATA is not set")
	}
	return filepath.Join(append([]string{dir}, name...)...)
}

func readFile(tb testing.TB, path string) string {
	tb.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return string(b)
}

func parseIDs(tb testing.TB, line string) []protocol.TokenID {
	tb.Helper()
	var ids []protocol.TokenID
	for f := range strings.FieldsSeq(line) {
		n, err := strconv.ParseUint(f, 10, 32)
		if err != nil {
			tb.Fatal(err)
		}
		ids = append(ids, protocol.TokenID(n))
	}
	return ids
}

func checkIDs(tb testing.TB, tok *Tokenizer, text string, opt EncodeOptions, want []protocol.TokenID) {
	tb.Helper()
	if got := tok.Encode(text, opt); !slices.Equal(got, want) {
		tb.Errorf("Encode(%q, %+v)\n got %v %q\nwant %v %q", text, opt, got, pieces(tok, got), want, pieces(tok, want))
	}
}

func pieces(tok *Tokenizer, ids []protocol.TokenID) []string {
	var out []string
	for _, id := range ids {
		out = append(out, string(tok.Piece(id)))
	}
	return out
}

func TestDemoVocabVectors(t *testing.T) {
	t.Parallel()
	dir := filepath.Join("testdata", "demo-vocab")
	var texts []string
	if err := json.Unmarshal([]byte(readFile(t, filepath.Join(dir, "texts.json"))), &texts); err != nil {
		t.Fatal(err)
	}
	for _, pre := range strings.Split(knownPreTokenizers, ", ") {
		t.Run(pre, func(t *testing.T) {
			t.Parallel()
			tok := demoTokenizer(t, pre)
			lines := strings.Split(strings.TrimSuffix(readFile(t, filepath.Join(dir, pre+".ids")), "\n"), "\n")
			if len(lines) != len(texts) {
				t.Fatalf("%d lines for %d texts", len(lines), len(texts))
			}
			for i, line := range lines {
				plain, parsed, _ := strings.Cut(line, "|")
				checkIDs(t, tok, texts[i], EncodeOptions{}, parseIDs(t, plain))
				checkIDs(t, tok, texts[i], EncodeOptions{ParseSpecial: true}, parseIDs(t, parsed))
				if got := tok.Decode(tok.Encode(texts[i], EncodeOptions{})); string(got) != texts[i] {
					t.Errorf("Decode(Encode(%q)) = %q", texts[i], got)
				}
			}
		})
	}
}

func TestLlamaCppVectors(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"gpt-2", "llama-spm"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := sharedData(t, "golden", "tokenizer", "ggml-vocab-"+name+".gguf")
			f, err := gguf.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			tok := mustNew(t, f.Meta)
			texts := strings.Split(strings.TrimSuffix(readFile(t, path+".inp"), "\n__ggml_vocab_test__\n"), "\n__ggml_vocab_test__\n")
			lines := strings.Split(strings.TrimSuffix(readFile(t, path+".out"), "\n"), "\n")
			if len(lines) != len(texts) {
				t.Fatalf("%d lines for %d texts", len(lines), len(texts))
			}
			for i, line := range lines {
				checkIDs(t, tok, texts[i], EncodeOptions{}, parseIDs(t, line))
				if got := tok.Decode(tok.Encode(texts[i], EncodeOptions{})); string(got) != texts[i] {
					t.Errorf("Decode(Encode(%q)) = %q", texts[i], got)
				}
			}
		})
	}
}

func TestGoldenPrompts(t *testing.T) {
	t.Parallel()
	var golden struct {
		Prompts map[string]struct {
			Text string
			IDs  []protocol.TokenID
		}
	}
	if err := json.Unmarshal([]byte(readFile(t, sharedData(t, "demo-model", "golden.json"))), &golden); err != nil {
		t.Fatal(err)
	}
	if len(golden.Prompts) == 0 {
		t.Fatal("no prompts")
	}
	tok := demoTokenizer(t, "")
	for _, p := range golden.Prompts {
		checkIDs(t, tok, p.Text, EncodeOptions{AddSpecial: true, ParseSpecial: true}, p.IDs)
	}
}
