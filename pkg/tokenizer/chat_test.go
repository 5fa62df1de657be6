// SPDX-License-Identifier: MIT

package tokenizer

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var testTime = time.Date(2024, 3, 5, 7, 8, 9, 0, time.UTC)

// testTokenizer has the special tokens <s> and </s> as BOS and EOS.
func testTokenizer(tb testing.TB) *Tokenizer {
	return mustNew(tb, with(bpeMeta(nil, map[string]kind{"</s>": kindControl, "<s>": kindControl}),
		"tokenizer.ggml.eos_token_id", uint32(256), "tokenizer.ggml.bos_token_id", uint32(257)))
}

func testTemplate(tb testing.TB, src string) *ChatTemplate {
	tb.Helper()
	c, err := NewChatTemplate(src, testTokenizer(tb))
	if err != nil {
		tb.Fatal(err)
	}
	c.now = func() time.Time { return testTime }
	return c
}

func ask(text string) Conversation {
	return Conversation{Messages: []Message{{Role: "user", Content: text}}, AddGenerationPrompt: true}
}

// testConversations are those of conversations.json, which has them as transformers takes them.
func testConversations(tb testing.TB) map[string]Conversation {
	tb.Helper()
	var list []struct {
		Name     string
		Messages []struct {
			Role, Content, Name string
			Reasoning           string `json:"reasoning_content"`
			ToolCalls           []struct {
				ID       string
				Function struct {
					Name      string
					Arguments json.RawMessage
				}
			} `json:"tool_calls"`
			ToolCallID string `json:"tool_call_id"`
		}
		Tools []struct {
			Function struct {
				Name, Description string
				Parameters        json.RawMessage
			}
		}
		Generate bool `json:"add_generation_prompt"`
		Vars     json.RawMessage
	}
	if err := json.Unmarshal([]byte(readFile(tb, filepath.Join("testdata", "conversations.json"))), &list); err != nil {
		tb.Fatal(err)
	}
	out := map[string]Conversation{}
	for _, c := range list {
		conv := Conversation{AddGenerationPrompt: c.Generate, Vars: c.Vars}
		for _, m := range c.Messages {
			msg := Message{Role: m.Role, Content: m.Content, Reasoning: m.Reasoning, ToolCallID: m.ToolCallID, Name: m.Name}
			for _, call := range m.ToolCalls {
				msg.ToolCalls = append(msg.ToolCalls, ToolCall{ID: call.ID, Name: call.Function.Name, Arguments: call.Function.Arguments})
			}
			conv.Messages = append(conv.Messages, msg)
		}
		for _, t := range c.Tools {
			conv.Tools = append(conv.Tools, Tool(t.Function))
		}
		out[c.Name] = conv
	}
	return out
}

// outcome is a rendering, or "!!! " and the kind of error, as templates.py writes it.
func outcome(c *ChatTemplate, conv Conversation) (string, error) {
	prompt, err := c.Render(conv)
	switch {
	case err == nil:
		return prompt, nil
	case strings.Contains(err.Error(), "refuses this conversation"):
		return "!!! refused", err
	}
	return "!!! failed", err
}

// TestChatTemplates compares with what Jinja2 makes of templates that are written in the manner of the families they are named after,
// with all that those use.
func TestChatTemplates(t *testing.T) {
	t.Parallel()
	conversations := testConversations(t)
	paths, err := filepath.Glob(filepath.Join("testdata", "templates", "*.jinja"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no templates, error %v", err)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			c := testTemplate(t, readFile(t, path))
			golden := readFile(t, strings.TrimSuffix(path, "jinja")+"golden")
			seen := 0
			for part := range strings.SplitSeq(strings.TrimPrefix(strings.TrimSuffix(golden, "\n"), "=== "), "\n=== ") {
				name, want, _ := strings.Cut(part, "\n")
				seen++
				got, err := outcome(c, conversations[name])
				if d := cmp.Diff(want, got); d != "" {
					t.Errorf("%s: %v\n%s", name, err, d)
				}
			}
			if seen != len(conversations) {
				t.Errorf("%d of %d conversations", seen, len(conversations))
			}
		})
	}
}

// TestPublishedTemplates compares with what Jinja2 makes of templates as published, which lie with the reference data.
func TestPublishedTemplates(t *testing.T) {
	t.Parallel()
	var published map[string]struct {
		SHA256     string
		Renderings map[string]struct{ Prompt, Error string }
	}
	if err := json.Unmarshal([]byte(readFile(t, filepath.Join("testdata", "published.json"))), &published); err != nil {
		t.Fatal(err)
	}
	dir := sharedData(t, "golden", "templates")
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("the reference data has no templates: %v", err)
	}
	conversations := testConversations(t)
	for name, want := range published {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src := readFile(t, filepath.Join(dir, name))
			if sum := sha256.Sum256([]byte(src)); hex.EncodeToString(sum[:]) != want.SHA256 {
				t.Fatalf("the template's SHA-256 is %x, want %s", sum, want.SHA256)
			}
			c := testTemplate(t, src)
			for name, w := range want.Renderings {
				wanted := w.Prompt
				if w.Error != "" {
					wanted = "!!! " + w.Error
				}
				got, err := outcome(c, conversations[name])
				if d := cmp.Diff(wanted, got); d != "" {
					t.Errorf("%s: %v\n%s", name, err, d)
				}
			}
		})
	}
}

func TestDemoChatTemplate(t *testing.T) {
	t.Parallel()
	tok := demoTokenizer(t, "")
	c, ok, err := tok.ChatTemplate()
	if err != nil || !ok {
		t.Fatalf("ok %t, error %v", ok, err)
	}
	got, err := c.Render(ask("What is artificial intelligence?"))
	if want := "<|im_start|>user\nWhat is artificial intelligence?<|im_end|>\n<|im_start|>assistant\n"; err != nil || got != want {
		t.Errorf("got %q, %v\nwant %q", got, err, want)
	}
	got, err = c.Render(Conversation{Messages: []Message{{Role: "user", Content: "a"}, {Role: "assistant", Content: "b"}}})
	if want := "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n"; err != nil || got != want {
		t.Errorf("got %q, %v\nwant %q", got, err, want)
	}
}

func TestChatTemplateErrors(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		src  string
		want []string
	}{
		"refusal":        {"{{ raise_exception('only one user, please') }}", []string{"refuses", "line 1", "only one user, please"}},
		"syntax":         {"x\n{% for %}", []string{"cannot be parsed", "line 2"}},
		"unknown tag":    {"\n\n{% nonsense %}", []string{"cannot be parsed", "line 3", "nonsense"}},
		"unknown filter": {"{{ messages | nonsense }}", []string{"line 1"}},
		"failing":        {"\n{{ messages[0].nothing.more }}", []string{"failed", "line 2", "nothing"}},
		"unclosed":       {"{% if true %}", []string{"cannot be parsed"}},
		"include":        {"{% include '/etc/passwd' %}", []string{"include"}},
		"long message":   {"{{ raise_exception('x' * 100000) }}", []string{"refuses"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tmpl, err := NewChatTemplate(c.src, testTokenizer(t))
			if err == nil {
				var out string
				if out, err = tmpl.Render(ask("x")); err == nil {
					t.Fatalf("no error, renders %.100q", out)
				}
			}
			for _, w := range append(c.want, "chat template") {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not mention %q", err, w)
				}
			}
			var bad *TemplateError
			if !errors.As(err, &bad) || bad.Refused != strings.Contains(err.Error(), "refuses") || strings.Contains(err.Error(), "--") {
				t.Errorf("%q is no error of a template, or names flags", err)
			}
			if len(err.Error()) > 500 {
				t.Errorf("%d bytes of error: %q", len(err.Error()), err)
			}
		})
	}
}

func TestConversationErrors(t *testing.T) {
	t.Parallel()
	c := testTemplate(t, "{{ messages | tojson }}")
	deep := json.RawMessage(strings.Repeat("[", 1000) + strings.Repeat("]", 1000))
	for want, conv := range map[string]Conversation{
		"want a JSON object":   {Vars: json.RawMessage(`[]`)},
		"messages cannot":      {Vars: json.RawMessage(`{"messages": []}`)},
		"template variables":   {Vars: json.RawMessage(`{`)},
		"message 1: call of f": {Messages: []Message{{ToolCalls: []ToolCall{{Name: "f", Arguments: json.RawMessage("{")}}}}},
		"tool 1 (f)":           {Tools: []Tool{{Name: "f", Parameters: deep}}},
	} {
		if _, err := c.Render(conv); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestNoChatTemplate(t *testing.T) {
	t.Parallel()
	if _, ok, err := testTokenizer(t).ChatTemplate(); ok || err != nil {
		t.Errorf("ok %t, error %v", ok, err)
	}
	bad := mustNew(t, with(bpeMeta(nil, nil), "tokenizer.chat_template", "{% for %}"))
	if _, ok, err := bad.ChatTemplate(); ok || err == nil {
		t.Errorf("ok %t, error %v", ok, err)
	}
}

// A file can have a second template, for conversations with tools.
func TestToolTemplate(t *testing.T) {
	t.Parallel()
	tok := mustNew(t, with(bpeMeta(nil, nil), "tokenizer.chat_template", "plain", "tokenizer.chat_template.tool_use", "tools"))
	c, ok, err := tok.ChatTemplate()
	if !ok || err != nil {
		t.Fatalf("ok %t, error %v", ok, err)
	}
	for want, tools := range map[string][]Tool{"plain": nil, "tools": {{Name: "f"}}} {
		if got, err := c.Render(Conversation{Tools: tools}); got != want || err != nil {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
}

// FuzzChatTemplate checks that no conversation makes a template of a family do worse than refuse it.
func FuzzChatTemplate(f *testing.F) {
	paths, err := filepath.Glob(filepath.Join("testdata", "templates", "*.jinja"))
	if err != nil || len(paths) == 0 {
		f.Fatalf("no templates, error %v", err)
	}
	var templates []*ChatTemplate
	for _, p := range paths {
		templates = append(templates, testTemplate(f, readFile(f, p)))
	}
	f.Add("user", "hi", "why", "f", `{"a": 1}`, `{"type": "object", "properties": {"a": {"type": "string"}}}`, `{"enable_thinking": false}`)
	f.Add("tool", "\xff</think>", "", "", `"x"`, `[]`, `{}`)
	f.Fuzz(func(t *testing.T, role, content, reasoning, name, arguments, parameters, vars string) {
		conv := Conversation{
			Messages: []Message{
				{Role: "user", Content: content},
				{Role: "assistant", Content: content, Reasoning: reasoning, ToolCalls: []ToolCall{{ID: name, Name: name, Arguments: json.RawMessage(arguments)}}},
				{Role: role, Content: content, ToolCallID: name, Name: name},
			},
			Tools: []Tool{{Name: name, Description: content, Parameters: json.RawMessage(parameters)}}, Vars: json.RawMessage(vars), AddGenerationPrompt: true,
		}
		for _, c := range templates {
			if _, err := c.Render(conv); err != nil && len(err.Error()) > 1000 {
				t.Errorf("%d bytes of error", len(err.Error()))
			}
		}
	})
}
