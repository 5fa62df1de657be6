// SPDX-License-Identifier: MIT

package tokenizer

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCallSyntax(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]CallSyntax{
		"qwen3": CallsTagged, "llama3": CallsBare, "mistral": CallsList, "gpt-oss": CallsHarmony, "gemma3": CallsUnknown, "phi3": CallsUnknown, "deepseek": CallsUnknown,
	} {
		if got := testTemplate(t, readFile(t, filepath.Join("testdata", "templates", name+".jinja"))).CallSyntax(); got != want {
			t.Errorf("%s: syntax %d, want %d", name, got, want)
		}
	}
}

// readCalls feeds an answer in pieces of n bytes.
func readCalls(s CallSyntax, answer string, n int) (text string, calls []ToolCall) {
	r := NewCallReader(s)
	add := func(t string, c []ToolCall) { text, calls = text+t, append(calls, c...) }
	for len(answer) > 0 {
		k := min(n, len(answer))
		add(r.Next(answer[:k]))
		answer = answer[k:]
	}
	add(r.Finish())
	return text, calls
}

func TestCallReader(t *testing.T) {
	t.Parallel()
	call := func(name, arguments string) ToolCall {
		return ToolCall{Name: name, Arguments: json.RawMessage(arguments)}
	}
	for _, c := range []struct {
		syntax CallSyntax
		answer string
		text   string
		calls  []ToolCall
	}{
		{CallsTagged, "Hello, <b>you</b>. ", "Hello, <b>you</b>. ", nil},
		{CallsTagged, "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>", "", []ToolCall{call("f", `{"a": 1}`)}},
		{CallsTagged, "Let me see.\n\n<tool_call>{\"name\":\"f\"}</tool_call>\n<tool_call>{\"name\":\"g\",\"arguments\":\"{}\"}</tool_call>\n", "Let me see.", []ToolCall{call("f", "{}"), call("g", "{}")}},
		{CallsTagged, "<tool_call>{\"name\": \"f\", \"arguments\": {}}", "", []ToolCall{call("f", "{}")}}, // the closing tag ended the answer
		{CallsTagged, "<tool_call>nonsense</tool_call>!", "<tool_call>nonsense</tool_call>!", nil},
		{CallsTagged, "<tool_call>{\"name\": \"f\", \"argu", "<tool_call>{\"name\": \"f\", \"argu", nil}, // cut off
		{CallsTagged, "<tool_c", "<tool_c", nil},
		{CallsBare, "{\"name\": \"f\", \"parameters\": {\"a\": [1]}}", "", []ToolCall{call("f", `{"a": [1]}`)}},
		{CallsBare, " <|python_tag|>{\"name\": \"f\", \"parameters\": {}}; {\"name\": \"g\", \"parameters\": {}}", "", []ToolCall{call("f", "{}"), call("g", "{}")}},
		{CallsBare, "{\"answer\": 42}", "{\"answer\": 42}", nil},
		{CallsBare, "It is {\"name\": \"f\"}", "It is {\"name\": \"f\"}", nil},
		{CallsList, "[TOOL_CALLS] [{\"name\": \"f\", \"arguments\": {\"a\": 1}}, {\"name\": \"g\", \"arguments\": {}}]", "", []ToolCall{call("f", `{"a": 1}`), call("g", "{}")}},
		{CallsList, "[TOOLS", "[TOOLS", nil},
		{CallsList, "[TOOL_CALLS][{\"name\": 1}]", "[TOOL_CALLS][{\"name\": 1}]", nil},
		{CallsUnknown, "<tool_call>{}</tool_call>", "<tool_call>{}</tool_call>", nil},
	} {
		for n := 1; n <= len(c.answer); n += 3 {
			text, calls := readCalls(c.syntax, c.answer, n)
			if d := cmp.Diff(c.calls, calls); d != "" || text != c.text {
				t.Errorf("%q in pieces of %d: text %q, %s", c.answer, n, text, d)
				break
			}
		}
	}
}

// FuzzCallReader: how an answer is cut does not matter, and calls have a name and an object.
func FuzzCallReader(f *testing.F) {
	f.Add("a <tool_call>{\"name\":\"f\"}</tool_call> b", uint8(1))
	f.Add("{\"name\": \"f\", \"parameters\": {}}", uint8(2))
	f.Add("[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {}}]", uint8(3))
	f.Fuzz(func(t *testing.T, answer string, syntax uint8) {
		s := CallSyntax(syntax % 5)
		text, calls := readCalls(s, answer, 1)
		again, more := readCalls(s, answer, max(len(answer), 1))
		if d := cmp.Diff(calls, more); d != "" || text != again {
			t.Fatalf("%q, %q: %s", text, again, d)
		}
		for _, c := range calls {
			if c.Name == "" || !json.Valid(c.Arguments) || !strings.HasPrefix(string(c.Arguments), "{") {
				t.Fatalf("%+v", c)
			}
		}
	})
}
