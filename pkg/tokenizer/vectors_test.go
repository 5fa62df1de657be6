// SPDX-License-Identifier: MIT

package tokenizer

import (
	"encoding/hex"
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

// Vectors without another word are llama.cpp's.

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

// TestReferenceVectors compares with the published expressions and the plainest BPE there is (testdata/tokens.py).
func TestReferenceVectors(t *testing.T) {
	t.Parallel()
	var data struct {
		Texts []string
		IDs   map[string][]string
	}
	if err := json.Unmarshal([]byte(readFile(t, filepath.Join("testdata", "vectors.json"))), &data); err != nil {
		t.Fatal(err)
	}
	for pre := range strings.SplitSeq(knownPreTokenizers, ", ") {
		t.Run(pre, func(t *testing.T) {
			t.Parallel()
			tok := demoTokenizer(t, pre)
			if len(data.IDs[pre]) != len(data.Texts) {
				t.Fatalf("%d lines for %d texts", len(data.IDs[pre]), len(data.Texts))
			}
			for i, line := range data.IDs[pre] {
				text, err := hex.DecodeString(data.Texts[i])
				if err != nil {
					t.Fatal(err)
				}
				plain, parsed, _ := strings.Cut(line, "|")
				checkIDs(t, tok, string(text), EncodeOptions{}, parseIDs(t, plain))
				checkIDs(t, tok, string(text), EncodeOptions{ParseSpecial: true}, parseIDs(t, parsed))
				if got := tok.Decode(tok.Encode(string(text), EncodeOptions{})); string(got) != string(text) {
					t.Errorf("Decode(Encode(%q)) = %q", text, got)
				}
			}
		})
	}
}

// TestSentencePieceVectors compares with the SentencePiece library, on small vocabularies that it trained (testdata/tokens.py).
func TestSentencePieceVectors(t *testing.T) {
	t.Parallel()
	var styles map[string]struct {
		Tokens         []string
		Types          []int32
		Scores         []float32
		AddSpacePrefix bool `json:"add_space_prefix"`
		Texts, IDs     []string
	}
	if err := json.Unmarshal([]byte(readFile(t, filepath.Join("testdata", "sentencepiece.json"))), &styles); err != nil {
		t.Fatal(err)
	}
	for name, c := range styles {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			arch := map[string]string{"llama": "llama", "phi-3": "phi3", "gemma": "gemma2"}[name]
			tok := mustNew(t, with(&gguf.Metadata{}, "general.architecture", arch, "tokenizer.ggml.model", "llama",
				"tokenizer.ggml.tokens", c.Tokens, "tokenizer.ggml.token_type", c.Types, "tokenizer.ggml.scores", c.Scores,
				"tokenizer.ggml.add_space_prefix", c.AddSpacePrefix))
			for i, line := range c.IDs {
				checkIDs(t, tok, c.Texts[i], EncodeOptions{ParseSpecial: name == "phi-3"}, parseIDs(t, line))
			}
		})
	}
}

// TestLlamaCppVectors takes every vocabulary that the reference data has, with llama.cpp's own vectors.
func TestLlamaCppVectors(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob(sharedData(t, "golden", "tokenizer", "ggml-vocab-*.gguf"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no vocabularies, error %v", err)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
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
