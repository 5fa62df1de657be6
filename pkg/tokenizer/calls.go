// SPDX-License-Identifier: MIT

package tokenizer

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode"
)

// CallSyntax is how a chat template has a model write the calls of tools.
type CallSyntax int

// The syntaxes that are known.
const (
	CallsUnknown CallSyntax = iota
	CallsTagged             // <tool_call>{"name": …, "arguments": {…}}</tool_call>: Qwen, Hermes
	CallsBare               // {"name": …, "parameters": {…}}, and nothing else: Llama 3
	CallsList               // [TOOL_CALLS][{"name": …, "arguments": {…}}]: Mistral
	CallsHarmony            // a message to functions.NAME: gpt-oss
)

// callMarks are what calls are marked by. Some vocabularies have them as control tokens.
var callMarks = []string{"<tool_call>", "</tool_call>", "[TOOL_CALLS]", "<|python_tag|>"}

// CallSyntax tells the syntax by the words of the template that writes calls of earlier turns.
func (c *ChatTemplate) CallSyntax() CallSyntax {
	src := c.source
	if c.toolSource != "" {
		src = c.toolSource
	}
	has := func(words ...string) bool {
		for _, w := range words {
			if !strings.Contains(src, w) {
				return false
			}
		}
		return true
	}
	switch {
	case has("<|channel|>", "to=functions"):
		return CallsHarmony
	case has("[TOOL_CALLS]") && !has("[ARGS]"):
		return CallsList
	case has("<tool_call>", "arguments") && !has("<function="):
		return CallsTagged
	case has("tool_calls", `"parameters": `, "<|start_header_id|>"):
		return CallsBare
	}
	return CallsUnknown
}

// CallReader takes calls out of an answer as it is generated. Text that looks like a call and is none stays text. It belongs to one
// goroutine.
type CallReader struct {
	syntax CallSyntax
	held   string // may belong to a call
	within bool   // of a call: held has what came behind its mark
	begun  bool   // something has come that is not white space
	called bool
}

// NewCallReader returns a reader for the answer of a model whose template has a syntax. Harmony's calls are parts of their own: see
// [Splitter].
func NewCallReader(s CallSyntax) *CallReader { return &CallReader{syntax: s} }

// Next takes text and returns what is now clear: text that belongs to no call, and calls.
func (r *CallReader) Next(text string) (string, []ToolCall) {
	r.held += text
	switch r.syntax {
	case CallsTagged:
		return r.tagged()
	case CallsBare, CallsList:
		return r.whole(), nil
	case CallsUnknown, CallsHarmony:
	}
	text, r.held = r.held, ""
	return text, nil
}

// Finish returns what was held back: the answer is over.
func (r *CallReader) Finish() (string, []ToolCall) {
	text := r.held
	r.held = ""
	switch {
	case r.within && r.syntax == CallsTagged: // cut off
		if call, ok := parseCall([]byte(text)); ok {
			return "", []ToolCall{call}
		}
		return callMarks[0] + text, nil
	case r.within:
		if calls := parseCalls(text); calls != nil {
			return "", calls
		}
	case r.called:
		text = strings.TrimRightFunc(text, unicode.IsSpace)
	}
	return text, nil
}

// tagged reads calls between tags, with text before and between them.
func (r *CallReader) tagged() (text string, calls []ToolCall) {
	const opening, closing = "<tool_call>", "</tool_call>"
	for {
		if r.within {
			body, rest, closed := strings.Cut(r.held, closing)
			if !closed {
				return text, calls
			}
			if call, ok := parseCall([]byte(body)); ok {
				calls, r.called = append(calls, call), true
				text = strings.TrimRightFunc(text, unicode.IsSpace)
			} else {
				text += opening + body + closing
			}
			r.held, r.within = rest, false
		}
		before, rest, opened := strings.Cut(r.held, opening)
		if opened {
			text, r.held, r.within = text+strings.TrimRightFunc(before, unicode.IsSpace), rest, true
			continue
		}
		n := len(r.held)
		for k := min(len(opening)-1, n); k > 0; k-- {
			if strings.HasSuffix(r.held, opening[:k]) {
				n -= k
				break
			}
		}
		n = len(strings.TrimRightFunc(r.held[:n], unicode.IsSpace)) // white space before a call goes
		text, r.held = text+r.held[:n], r.held[n:]
		return text, calls
	}
}

// whole reads answers that are calls or are text: what they begin with decides.
func (r *CallReader) whole() (text string) {
	if r.within {
		return ""
	}
	if !r.begun {
		start := strings.TrimLeftFunc(r.held, unicode.IsSpace)
		marks := []string{"[TOOL_CALLS]"}
		if r.syntax == CallsBare {
			marks = []string{"{", "<|python_tag|>"}
		}
		for _, m := range marks {
			if strings.HasPrefix(start, m) {
				r.within, r.begun = true, true
				return ""
			}
			if strings.HasPrefix(m, start) {
				return "" // not clear yet
			}
		}
		r.begun = true
	}
	text, r.held = r.held, ""
	return text
}

// parseCalls reads one call after another, or a list of them; nil: it is something else.
func parseCalls(text string) []ToolCall {
	text = strings.TrimSpace(text)
	for _, mark := range []string{"[TOOL_CALLS]", "<|python_tag|>"} {
		text = strings.TrimPrefix(text, mark)
	}
	var calls []ToolCall
	d := json.NewDecoder(strings.NewReader(strings.ReplaceAll(text, "};", "} ")))
	for d.More() {
		var raw json.RawMessage
		if d.Decode(&raw) != nil {
			return nil
		}
		list := []json.RawMessage{raw}
		if raw[0] == '[' && json.Unmarshal(raw, &list) != nil {
			return nil
		}
		for _, raw := range list {
			call, ok := parseCall(raw)
			if !ok {
				return nil
			}
			calls = append(calls, call)
		}
	}
	return calls
}

// parseCall reads {"name": …, "arguments": {…}}, or parameters in their place.
func parseCall(raw []byte) (ToolCall, bool) {
	var c struct {
		Name                  string
		Arguments, Parameters json.RawMessage
	}
	if json.Unmarshal(raw, &c) != nil || c.Name == "" {
		return ToolCall{}, false
	}
	if c.Arguments == nil {
		c.Arguments = c.Parameters
	}
	if c.Arguments == nil || string(c.Arguments) == "null" {
		c.Arguments = json.RawMessage("{}")
	}
	var text string // some models write the object as a text
	if json.Unmarshal(c.Arguments, &text) == nil {
		c.Arguments = json.RawMessage(text)
	}
	if c.Arguments = bytes.TrimSpace(c.Arguments); !json.Valid(c.Arguments) || len(c.Arguments) == 0 || c.Arguments[0] != '{' {
		return ToolCall{}, false
	}
	return ToolCall{Name: c.Name, Arguments: c.Arguments}, true
}
