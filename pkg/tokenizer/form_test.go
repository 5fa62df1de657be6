// SPDX-License-Identifier: MIT

package tokenizer

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shardnode/shardnode/pkg/grammar"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// follows reports whether an answer is allowed by a form, token for token, and complete.
func follows(tb testing.TB, tok *Tokenizer, form, answer string) bool {
	tb.Helper()
	g, err := grammar.Compile("root ::= " + form + "\nws ::= [ \\n]?\nobj ::= \"{}\"")
	if err != nil {
		tb.Fatalf("%v: %s", err, form)
	}
	v, err := grammar.NewVocab(tok.Vocab(), func(id int) []byte { return tok.Text(protocol.TokenID(id)) }, func(id int) bool { return tok.IsEnd(protocol.TokenID(id)) })
	if err != nil {
		tb.Fatal(err)
	}
	m, err := grammar.NewMatcher(g, v)
	if err != nil {
		tb.Fatal(err)
	}
	ids := tok.Encode(answer, EncodeOptions{ParseSpecial: true})
	for i, id := range ids {
		allowed, err := m.Allowed(ids[:i])
		if err != nil {
			tb.Fatal(err)
		}
		if allowed[id/64]>>(id%64)&1 == 0 {
			return false
		}
		if tok.IsEnd(id) {
			return i == len(ids)-1
		}
	}
	return false
}

func TestForms(t *testing.T) {
	t.Parallel()
	end := map[string]kind{"<|im_end|>": kindControl}
	with := func(more map[string]kind) map[string]kind {
		for name, k := range end {
			more[name] = k
		}
		return more
	}
	plain := mustNew(t, bpeMeta(nil, with(map[string]kind{})))
	user := mustNew(t, bpeMeta(nil, with(map[string]kind{"<think>": kindUserDefined, "</think>": kindUserDefined})))
	control := mustNew(t, bpeMeta(nil, with(map[string]kind{"[THINK]": kindControl, "[/THINK]": kindControl, "[TOOL_CALLS]": kindControl})))
	kinds := map[string]kind{"<|constrain|>": kindControl}
	for _, n := range harmonyNames {
		kinds[n] = kindControl
	}
	harmony := mustNew(t, bpeMeta(nil, kinds))
	names, arguments := []string{"f", "g"}, []string{"obj", "obj"}
	for _, c := range []struct {
		tok    *Tokenizer
		form   string
		answer string
		want   bool
	}{
		{plain, plain.AnswerForm("", "obj"), "{}<|im_end|>", true},
		{plain, plain.AnswerForm("", "obj"), "<think>x</think>{}<|im_end|>", false},
		{plain, plain.AnswerForm("…<think>\n", "obj"), "hm</think>\n\n{}<|im_end|>", true},
		{plain, plain.AnswerForm("…<think>\n", "obj"), "{}<|im_end|>", false},
		{user, user.AnswerForm("…", "obj"), "<think>hm</think>\n\n{}<|im_end|>", true},
		{user, user.AnswerForm("…", "obj"), "{}<|im_end|>", true},
		{user, user.AnswerForm("…<think>\n\n</think>\n\n", "obj"), "<think>hm</think>{}<|im_end|>", false},
		{control, control.AnswerForm("…", "obj"), "[THINK]hm[/THINK]{}<|im_end|>", true},
		{harmony, harmony.AnswerForm("…", "obj"), "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>{}<|return|>", true},
		{harmony, harmony.AnswerForm("…", "obj"), "<|channel|>final<|message|>{}<|return|>", true},
		{harmony, harmony.AnswerForm("…", "obj"), "<|channel|>commentary<|message|>{}<|return|>", false},
		{plain, plain.CallForm("…", CallsTagged, names, arguments, true), "<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>\n<tool_call>\n{\"name\": \"g\", \"arguments\": {}}\n</tool_call><|im_end|>", true},
		{plain, plain.CallForm("…", CallsTagged, names, arguments, false), "<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call><tool_call>", false},
		{plain, plain.CallForm("…", CallsTagged, names, arguments, true), "<tool_call>\n{\"name\": \"h\", \"arguments\": {}}\n</tool_call><|im_end|>", false},
		{plain, plain.CallForm("…", CallsBare, names, arguments, true), "{\"name\": \"g\", \"parameters\": {}}<|im_end|>", true},
		{control, control.CallForm("…", CallsList, names, arguments, true), "[TOOL_CALLS] [{\"name\": \"f\", \"arguments\": {}}, {\"name\": \"g\", \"arguments\": {}}]<|im_end|>", true},
		{harmony, harmony.CallForm("…", CallsHarmony, names, arguments, true), "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>commentary to=functions.g <|constrain|>json<|message|>{}<|call|>", true},
	} {
		if got := follows(t, c.tok, c.form, c.answer); got != c.want {
			t.Errorf("%q by %s: %t, want %t", c.answer, c.form, got, c.want)
		}
	}
}

// Marks of calls that are control tokens are shown to who reads calls.
func TestShowCalls(t *testing.T) {
	t.Parallel()
	tok := mustNew(t, bpeMeta(nil, map[string]kind{"[TOOL_CALLS]": kindControl}))
	ids := tok.Encode("[TOOL_CALLS][]", EncodeOptions{ParseSpecial: true})
	s := tok.Splitter("…")
	s.ShowCalls()
	if d := cmp.Diff([]Part{{Text: "[TOOL_CALLS][]"}}, splitAll(s, ids)); d != "" {
		t.Error(d)
	}
}
