// SPDX-License-Identifier: MIT

package tokenizer

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDemoChatTemplate(t *testing.T) {
	t.Parallel()
	tok := demoTokenizer(t, "")
	c, ok, err := tok.ChatTemplate()
	if err != nil || !ok {
		t.Fatalf("ok %t, error %v", ok, err)
	}
	got, err := c.Render([]Message{{"user", "What is artificial intelligence?"}}, true)
	if err != nil {
		t.Fatal(err)
	}
	want := "<|im_start|>user\nWhat is artificial intelligence?<|im_end|>\n<|im_start|>assistant\n"
	if got != want {
		t.Errorf("got %q\nwant %q", got, want)
	}
	got, err = c.Render([]Message{{"user", "a"}, {"assistant", "b"}}, false)
	if want := "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n"; err != nil || got != want {
		t.Errorf("got %q, %v\nwant %q", got, err, want)
	}
}

// testTokenizer has the special tokens <s> and </s> as BOS and EOS.
func testTokenizer(tb testing.TB) *Tokenizer {
	return mustNew(tb, with(bpeMeta(nil, map[string]kind{"</s>": kindControl, "<s>": kindControl}),
		"tokenizer.ggml.eos_token_id", uint32(256), "tokenizer.ggml.bos_token_id", uint32(257)))
}

// The templates are written in the manner of the families named.
func TestChatTemplates(t *testing.T) {
	t.Parallel()
	msgs := []Message{{"system", " Be brief. "}, {"user", "Hi <b>\"there\"</b>"}, {"assistant", "Hello"}, {"user", "Bye"}}
	for name, c := range map[string]struct{ src, want string }{
		"llama 3": {
			`{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>

'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>

' }}{% endif %}`,
			"<s><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi <b>\"there\"</b><|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nHello<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
		},
		"llama 2": {
			`{%- if messages[0]['role'] == 'system' -%}
    {%- set loop_messages = messages[1:] -%}
    {%- set system_message = '<<SYS>>\n' ~ messages[0]['content'].strip() ~ '\n<</SYS>>\n\n' -%}
{%- else -%}
    {%- set loop_messages = messages -%}
    {%- set system_message = '' -%}
{%- endif -%}
{%- for message in loop_messages -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{- raise_exception('Roles must alternate') -}}
    {%- endif -%}
    {%- set content = system_message + message.content if loop.first else message.content -%}
    {%- if message.role == 'user' -%}
        {{- bos_token + '[INST] ' + content.strip() + ' [/INST]' -}}
    {%- elif message.role == 'assistant' -%}
        {{- ' ' + content | trim + ' ' + eos_token -}}
    {%- endif -%}
{%- endfor -%}`,
			"<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi <b>\"there\"</b> [/INST] Hello </s><s>[INST] Bye [/INST]",
		},
		"qwen 2": {
			`{%- if tools %}
    {{- 'tools' }}
{%- elif messages[0]['role'] != 'system' %}
    {{- '<|im_start|>system\nYou are helpful.<|im_end|>\n' }}
{%- endif %}
{%- set ns = namespace(seen=0, last='') %}
{%- for message in messages %}
    {%- if message.role == "user" or (message.role == "assistant" and not message.tool_calls) or message.role == 'system' %}
        {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}
        {%- set ns.seen = ns.seen + 1 %}
        {%- set ns.last = message.role %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt and ns.last != 'assistant' and ns.seen == messages|length %}
    {{- '<|im_start|>assistant\n' }}
{%- endif %}`,
			"<|im_start|>system\n Be brief. <|im_end|>\n<|im_start|>user\nHi <b>\"there\"</b><|im_end|>\n<|im_start|>assistant\nHello<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n",
		},
		"gemma": {
			`{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- set first_user_prefix = messages[0]['content'] + '\n\n' -%}
    {%- set loop_messages = messages[1:] -%}
{%- endif -%}
{%- for message in loop_messages -%}
    {%- if (message['role'] == 'assistant') -%}
        {%- set role = "model" -%}
    {%- else -%}
        {%- set role = message['role'] -%}
    {%- endif -%}
    {{ '<start_of_turn>' + role + '\n' + (first_user_prefix if loop.first else "") }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- elif message['content'] is iterable -%}
        {%- for item in message['content'] -%}{{ item['text'] | trim }}{%- endfor -%}
    {%- endif -%}
    {{ '<end_of_turn>\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{'<start_of_turn>model\n'}}
{%- endif -%}`,
			"<s><start_of_turn>user\n Be brief. \n\nHi <b>\"there\"</b><end_of_turn>\n<start_of_turn>model\nHello<end_of_turn>\n<start_of_turn>user\nBye<end_of_turn>\n<start_of_turn>model\n",
		},
		"blocks on lines of their own": {
			"{% for m in messages %}\n    {% if m.role == 'user' %}\nU: {{ m.content }}\n    {% endif %}\n{% endfor %}\nend\n",
			"U: Hi <b>\"there\"</b>\nU: Bye\nend",
		},
		"functions": {
			`{{ messages[1].content | tojson }} {{ messages[0] | tojson }} {{ [1, 2.5, none, true] | tojson }}{{ {'a': [1]} | tojson(indent=2) }} {{ strftime_now('%d %b %Y, %-d/%m %H:%M %% %q') }} {% for i in range(4, 0, -2) %}{{ i }}{% endfor %}`,
			"\"Hi <b>\\\"there\\\"</b>\" {\"content\": \" Be brief. \", \"role\": \"system\"} [1, 2.5, null, true]{\n  \"a\": [\n    1\n  ]\n} 05 Mar 2024, 5/03 07:08 % %q 42",
		},
		"macros": {
			`{%- macro turn(m, end='|') -%}<{{ m.role }}>{{ m.content | trim }}{{ end }}{%- endmacro -%}
{%- for m in messages -%}{% if loop.last %}{% break %}{% endif %}{{ turn(m, end='/') }}{% generation %}g{% endgeneration %}{%- endfor -%}{{ turn(messages[-1]) }}`,
			"<system>Be brief./g<user>Hi <b>\"there\"</b>/g<assistant>Hello/g<user>Bye|",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c1, err := NewChatTemplate(c.src, testTokenizer(t))
			if err != nil {
				t.Fatal(err)
			}
			c1.now = func() time.Time { return time.Date(2024, 3, 5, 7, 8, 9, 0, time.UTC) }
			got, err := c1.Render(msgs, true)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestJinja compares with what Jinja2 3.1.6 renders as transformers sets it up (trim_blocks, lstrip_blocks, loop
// controls, its own tojson; here with sorted keys).
func TestJinja(t *testing.T) {
	t.Parallel()
	var cases []struct{ Template, Want string }
	if err := json.Unmarshal([]byte(readFile(t, filepath.Join("testdata", "jinja.json"))), &cases); err != nil {
		t.Fatal(err)
	}
	tok := testTokenizer(t)
	msgs := []Message{{"system", " Be brief. "}, {"user", "Hi <b>\"there\"</b> it's é"}, {"assistant", "Hello"}, {"user", "Bye"}}
	for _, c := range cases {
		tmpl, err := NewChatTemplate(c.Template, tok)
		if err != nil {
			t.Errorf("%s\n%v", c.Template, err)
			continue
		}
		if got, err := tmpl.Render(msgs, true); err != nil || got != c.Want {
			t.Errorf("%s\n got %q, error %v\nwant %q", c.Template, got, err, c.Want)
		}
	}
}

func TestChatTemplateErrors(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		src  string
		want []string
	}{
		"refusal":        {"{{ raise_exception('only one user, please') }}", []string{"refuses", "only one user, please"}},
		"syntax":         {"x\n{% for %}", []string{"cannot be parsed", "line 2"}},
		"unknown tag":    {"\n\n{% nonsense %}", []string{"cannot be parsed", "line 3", "nonsense"}},
		"unknown filter": {"{{ messages | nonsense }}", []string{"line 1"}},
		"unclosed":       {"{% if true %}", []string{"cannot be parsed"}},
		"include":        {"{% include '/etc/passwd' %}", []string{"include"}},
		"import":         {"{% import '/etc/passwd' as x %}", []string{"import"}},
		"endless range":  {"{% for i in range(1000000000000) %}{% endfor %}", []string{"ranges yield more than"}},
		"nested ranges":  {"{% for i in range(5000) %}{% for j in range(5000) %}{% endfor %}{% endfor %}", []string{"ranges yield more than"}},
		"range step":     {"{{ range(1, 2, 0) }}", []string{"step 0"}},
		"recursion":      {"{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}", []string{"nested more than"}},
		"recursive loop": {"{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}", []string{"recursive"}},
		"deep":           {"{{ " + strings.Repeat("(", 60000) + " }}", []string{"parts"}},
		"large":          {strings.Repeat("x", maxTemplate+1), []string{"limit"}},
		"large output":   {"{% for i in range(20) %}{{ 'x' * 1000000 }}{% endfor %}", []string{"exceeds"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tmpl, err := NewChatTemplate(c.src, testTokenizer(t))
			if err == nil {
				var out string
				if out, err = tmpl.Render([]Message{{"user", "x"}}, true); err == nil {
					t.Fatalf("no error, renders %.100q", out)
				}
			}
			for _, w := range append(c.want, "chat template", "--raw") {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not mention %q", err, w)
				}
			}
			if len(err.Error()) > 400 {
				t.Errorf("%d bytes of error: %q", len(err.Error()), err)
			}
		})
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

// FuzzChatTemplate checks that no template makes parsing or rendering panic.
func FuzzChatTemplate(f *testing.F) {
	f.Add("{% for m in messages %}{{ m.role + '\n' + m['content'] | trim }}{% endfor %}", "user", "hi")
	f.Add("{{ raise_exception(messages[-1].role) }}{% macro f(x) %}{{ x[1:] }}{% endmacro %}{{ f('a') }}", "", "\xff")
	f.Add("{%- set ns = namespace(a=1) -%}{{ ns.a // 0 }}{{ messages | tojson(indent=-1) }}{{ strftime_now('%-') }}", "a", "b")
	f.Fuzz(func(t *testing.T, src, role, content string) {
		if strings.ContainsAny(src, "*0123456789") {
			return // a large string, list or loop is asked for too easily
		}
		c, err := NewChatTemplate(src, testTokenizer(t))
		if err != nil {
			return
		}
		if _, err := c.Render([]Message{{role, content}}, true); err != nil && len(err.Error()) > 1000 {
			t.Errorf("%d bytes of error", len(err.Error()))
		}
	})
}
