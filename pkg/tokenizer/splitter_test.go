// SPDX-License-Identifier: MIT

package tokenizer

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// splitAll feeds ids and joins neighbours of one kind.
func splitAll(s *Splitter, ids []protocol.TokenID) []Part {
	var out []Part
	add := func(parts []Part) {
		for _, p := range parts {
			if n := len(out) - 1; n >= 0 && out[n].Kind == p.Kind && out[n].Tool == p.Tool {
				out[n].Text += p.Text
			} else {
				out = append(out, p)
			}
		}
	}
	for _, id := range ids {
		add(s.Next(id))
	}
	add(s.Finish())
	return out
}

func TestSplitter(t *testing.T) {
	t.Parallel()
	plain := mustNew(t, bpeMeta(nil, nil))
	user := mustNew(t, bpeMeta(nil, map[string]kind{"<think>": kindUserDefined, "</think>": kindUserDefined}))
	control := mustNew(t, bpeMeta(nil, map[string]kind{"[THINK]": kindControl, "[/THINK]": kindControl}))
	kinds := map[string]kind{}
	for _, n := range append([]string{"<|constrain|>"}, harmonyNames...) {
		kinds[n] = kindControl
	}
	harmony := mustNew(t, bpeMeta(nil, kinds))
	thought := func(s string) Part { return Part{Kind: PartReasoning, Text: s} }
	said := func(s string) Part { return Part{Text: s} }
	for _, c := range []struct {
		tok            *Tokenizer
		prompt, answer string
		want           []Part
	}{
		{plain, "", "Hello", []Part{said("Hello")}},
		{plain, "", "", nil},
		{plain, "", "  Hello ", []Part{said("  Hello ")}},
		{plain, "", "<think>\nHm, é\n\n ok.\n</think>\n\nYes. \n", []Part{thought("Hm, é\n\n ok."), said("Yes. \n")}},
		{plain, "", "\n<think></think>Yes", []Part{said("Yes")}},
		{plain, "", "<think>Hm \n", []Part{thought("Hm")}}, // cut off
		{plain, "", "<think>Hm</thi", []Part{thought("Hm</thi")}},
		{plain, "", "<thin", []Part{said("<thin")}},
		{plain, "", " <thought>", []Part{said(" <thought>")}},
		{plain, "", "Use <think>x</think>.", []Part{said("Use <think>x</think>.")}}, // no more than text
		{plain, "", "<think>a</think>b<think>c</think>", []Part{thought("a"), said("b<think>c</think>")}},
		{plain, "…<|assistant|><think>\n", "Hm\n</think>\nYes", []Part{thought("Hm"), said("Yes")}},
		{plain, "<think>\n\n</think>\n\n", "Yes", []Part{said("Yes")}},
		{user, "", "<think>Hm</think>Yes", []Part{thought("Hm"), said("Yes")}},
		{control, "", "[THINK]Hm[/THINK]Yes", []Part{thought("Hm"), said("Yes")}},
		{
			harmony, "…<|start|>assistant",
			"<|channel|>analysis<|message|>Hm <think><|end|><|start|>assistant<|channel|>final<|message|>Yes.<|return|>",
			[]Part{thought("Hm <think>"), said("Yes.")},
		},
		{
			harmony, "", "<|channel|>commentary to=functions.f <|constrain|>json<|message|>{\"a\": 1}<|call|>",
			[]Part{{Kind: PartToolCall, Tool: "functions.f", Text: `{"a": 1}`}},
		},
		{
			harmony, "", " to=functions.f<|channel|>commentary json<|message|>{}<|call|>",
			[]Part{{Kind: PartToolCall, Tool: "functions.f", Text: "{}"}},
		},
		{harmony, "", "<|channel|>commentary<|message|>I will look.<|end|>", []Part{said("I will look.")}},
	} {
		ids := c.tok.Encode(c.answer, EncodeOptions{ParseSpecial: true})
		if d := cmp.Diff(c.want, splitAll(c.tok.Splitter(c.prompt), ids)); d != "" {
			t.Errorf("%q: %s", c.answer, d)
		}
	}
	// Text that looks like a control token is none.
	ids := append(harmony.Encode("<|channel|>final<|message|>", EncodeOptions{ParseSpecial: true}), harmony.Encode("<|end|>x", EncodeOptions{})...)
	if d := cmp.Diff([]Part{said("<|end|>x")}, splitAll(harmony.Splitter(""), ids)); d != "" {
		t.Error(d)
	}
}

// FuzzSplitter checks that parts do not depend on how text is cut into tokens, and that nothing but tags and white space is lost.
func FuzzSplitter(f *testing.F) {
	for _, s := range []string{"<think>a</think>b", " <think>\n a \n</think>\n b ", "<thi", "<think>", "a</think>b", "[THINK]x[/THINK]", "<think>a</think></think>", "<think>\xff</think>\xe2\x82"} {
		f.Add(s, "")
		f.Add(s, "<think>\n")
	}
	bytewise := mustNew(f, bpeMeta(nil, nil))
	merged := mustNew(f, bpeMeta([]string{"t h", "i n", "th in", "thin k", "< think", "< /", "> a", "k >"}, nil))
	f.Fuzz(func(t *testing.T, answer, prompt string) {
		one := splitAll(bytewise.Splitter(prompt), bytewise.Encode(answer, EncodeOptions{}))
		two := splitAll(merged.Splitter(prompt), merged.Encode(answer, EncodeOptions{}))
		if d := cmp.Diff(one, two); d != "" {
			t.Fatalf("%q: %s", answer, d)
		}
		var all strings.Builder
		for _, p := range one {
			all.WriteString(p.Text)
		}
		kept := func(s string) string {
			for _, pair := range tagPairs {
				s = strings.ReplaceAll(strings.ReplaceAll(s, pair[0], ""), pair[1], "")
			}
			return strings.Join(strings.Fields(s), "")
		}
		if got, want := kept(all.String()), kept(string([]rune(answer))); got != want && len(one) < 2 {
			t.Fatalf("%q became %q", want, got)
		}
	})
}
