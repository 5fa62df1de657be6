// SPDX-License-Identifier: MIT

package jinja

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var testTime = time.Date(2024, 3, 5, 7, 8, 9, 0, time.UTC)

func readJSON(tb testing.TB, v any, path ...string) {
	tb.Helper()
	raw, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		tb.Fatal(err)
	}
	if err := json.Unmarshal(raw, v); err != nil {
		tb.Fatal(err)
	}
}

// testVars are the variables that cases.json was made with.
func testVars(tb testing.TB) *Dict {
	tb.Helper()
	var conversations []struct {
		Name            string
		Messages, Tools json.RawMessage
	}
	readJSON(tb, &conversations, "..", "..", "pkg", "tokenizer", "testdata", "conversations.json")
	vars := NewDict().Set("bos_token", "<s>").Set("eos_token", "</s>").Set("documents", nil).Set("add_generation_prompt", true)
	for _, c := range conversations {
		for name, raw := range map[string]json.RawMessage{"turns": c.Messages, "tools": c.Tools} {
			if c.Name != name {
				continue
			}
			v, err := FromJSON(raw)
			if err != nil {
				tb.Fatal(err)
			}
			vars.Set(map[string]string{"turns": "messages", "tools": "tools"}[name], v)
		}
	}
	return vars
}

// TestCases compares with what Jinja2 3.1.6 makes of small templates (pkg/tokenizer/testdata/templates.py): the text, or the kind of
// error.
func TestCases(t *testing.T) {
	t.Parallel()
	var cases []struct{ Template, Prompt, Error string }
	readJSON(t, &cases, "testdata", "cases.json")
	vars := testVars(t)
	for _, c := range cases {
		got, kind := "", ""
		tmpl, err := Parse(c.Template)
		if err != nil {
			kind = "syntax"
		} else if got, err = tmpl.Render(vars, testTime); err != nil {
			kind = "failed"
			if raised := new(RaisedError); errors.As(err, &raised) {
				kind = "refused"
			}
			got = ""
		}
		if got != c.Prompt || kind != c.Error {
			t.Errorf("%q\n got %q %s %v\nwant %q %s", c.Template, got, kind, err, c.Prompt, c.Error)
		}
		if err != nil && !strings.HasPrefix(err.Error(), "line ") {
			t.Errorf("%q: %v names no line", c.Template, err)
		}
	}
}

// TestErrors are of the limits, and of what Jinja2 has and this package has not.
func TestErrors(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		src  string
		line int
		want string
	}{
		"line":            {"a\n{{ 1 }}\n\n{{ 'x' + 1 }}", 4, "can only concatenate"},
		"line in a macro": {"{% macro f() %}\n\n{{ nothing.x }}{% endmacro %}\n{{ f() }}", 3, "'nothing' is undefined"},
		"raised":          {"\n{% if true %}\n{{ raise_exception('not this') }}{% endif %}", 3, "not this"},
		"include":         {"\n{% include '/etc/passwd' %}", 2, "stands alone"},
		"import":          {"{% import '/etc/passwd' as x %}", 1, "stands alone"},
		"recursive loop":  {"{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}", 1, "recursive"},
		"unknown filter":  {"\n{{ messages | nonsense }}", 2, "nonsense"},
		"large":           {strings.Repeat("x", MaxSource+1), 1, "limit"},
		"deep":            {"{{ " + strings.Repeat("(", 60000) + "1" + strings.Repeat(")", 60000) + " }}", 1, "nested"},
		"deep blocks":     {strings.Repeat("{% if true %}", 9000), 1, "nested"},
		"deep elif":       {"{% if true %}" + strings.Repeat("{% elif true %}", 7000), 1, "nested"},
		"deep not":        {"{{ " + strings.Repeat("not ", 30000) + "1 }}", 1, "nested"},
		"deep minus":      {"{{ " + strings.Repeat("-", 60000) + "1 }}", 1, "nested"},
		"long sum":        {"{{ 1" + strings.Repeat("+1", 60000) + " }}", 1, "nested"},
		"long path":       {"{{ x" + strings.Repeat("[0]", 40000) + " }}", 1, "nested"},
		"long filter":     {"{{ x" + strings.Repeat("|e", 60000) + " }}", 1, "nested"},
		"recursion":       {"{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}", 1, "nested"},
		"nested value":    {"{% set n = namespace(v=[]) %}{% for i in range(1000) %}{% set n.v = [n.v] %}{% endfor %}\n{{ n.v }}", 2, "nested"},
		"nested JSON":     {"{% set n = namespace(v=[]) %}{% for i in range(1000) %}{% set n.v = [n.v] %}{% endfor %}\n{{ n.v | tojson }}", 2, "nested"},
		"nested equal":    {"{% set n = namespace(v=[], w=[]) %}{% for i in range(1000) %}{% set n.v = [n.v] %}{% set n.w = [n.w] %}{% endfor %}{{ n.v == n.w }}", 1, "nested"},
		"nested ranges":   {"{% for i in range(50000) %}{% for j in range(50000) %}{% endfor %}{% endfor %}", 1, "steps"},
		"large string":    {"{{ 'x' * 1000000000 }}", 1, "bytes"},
		"doubled string":  {"{% set n = namespace(v='x') %}{% for i in range(100) %}{% set n.v = n.v ~ n.v %}{% endfor %}", 1, "bytes"},
		"doubled list":    {"{% set n = namespace(v=[1]) %}{% for i in range(100) %}{% set n.v = n.v + n.v %}{% endfor %}", 1, "bytes"},
		"replaced string": {"{{ ('x' * 100000).replace('x', 'y' * 100000) }}", 1, "bytes"},
		"joined string":   {"{{ range(1000) | join('y' * 1000000) }}", 1, "bytes"},
		"padded string":   {"{{ 'x'.ljust(100000000000) }}", 1, "padded"},
		"wide format":     {"{{ '%999999999s' | format('x') }}", 1, "unsupported"},
		"large output":    {"{% for i in range(20) %}{{ 'x' * 1000000 }}{% endfor %}", 1, "exceeds"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tmpl, err := Parse(c.src)
			if err == nil {
				var out string
				if out, err = tmpl.Render(NewDict().Set("messages", NewList()), testTime); err == nil {
					t.Fatalf("no error, renders %.100q", out)
				}
			}
			var failed *Error
			var raised *RaisedError
			line := 0
			switch {
			case errors.As(err, &failed):
				line = failed.Line
			case errors.As(err, &raised):
				line = raised.Line
			}
			if line != c.line || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %.300v, want line %d and %q", err, c.line, c.want)
			}
		})
	}
}

// FuzzRender checks that whatever a template does ends in text or an error that names a line of it, in bounded time and memory.
func FuzzRender(f *testing.F) {
	var cases []struct{ Template string }
	readJSON(f, &cases, "testdata", "cases.json")
	for _, c := range cases {
		f.Add(c.Template)
	}
	vars := testVars(f)
	f.Fuzz(func(t *testing.T, src string) {
		tmpl, err := Parse(src)
		if err == nil {
			_, err = tmpl.Render(vars, testTime)
		}
		if failed := new(Error); errors.As(err, &failed) && (failed.Line < 1 || failed.Line > 1+strings.Count(src, "\n")+strings.Count(src, "\r")) {
			t.Errorf("line %d: %s", failed.Line, failed.Message)
		}
	})
}

// FuzzFromJSON checks that what is read is written as it came.
func FuzzFromJSON(f *testing.F) {
	for _, s := range []string{`{"b": [1, 2.5, null, true, "é\n"], "a": {}}`, `[[]]`, `1e400`, `"\ud800"`, `{"a": 1, "a": 2}`, `9223372036854775808`} {
		f.Add(s)
	}
	tmpl, err := Parse("{{ v | tojson }}")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := FromJSON([]byte(s))
		if err != nil {
			return
		}
		once, err := tmpl.Render(NewDict().Set("v", v), testTime)
		if err != nil {
			return // too deep
		}
		if v, err = FromJSON([]byte(once)); err != nil {
			t.Fatalf("%q became %q: %v", s, once, err)
		}
		if twice, err := tmpl.Render(NewDict().Set("v", v), testTime); err != nil || once != twice {
			t.Fatalf("%q became %q, then %q: %v", s, once, twice, err)
		}
	})
}
