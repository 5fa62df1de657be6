// SPDX-License-Identifier: MIT

package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nikolalohinski/gonja/v2/config"
	"github.com/nikolalohinski/gonja/v2/exec"
	"github.com/nikolalohinski/gonja/v2/parser"
	"github.com/nikolalohinski/gonja/v2/tokens"
)

// strftimeLayouts are the directives that templates write dates with, as Go layouts.
var strftimeLayouts = map[byte]string{
	'a': "Mon", 'A': "Monday", 'b': "Jan", 'B': "January", 'd': "02", 'e': "_2", 'F': "2006-01-02", 'H': "15",
	'I': "03", 'j': "002", 'm': "01", 'M': "04", 'p': "PM", 'S': "05", 'T': "15:04:05", 'y': "06", 'Y': "2006",
	'z': "-0700", 'Z': "MST",
}

// strftime formats t as Python does. Unknown directives stay as they are.
func strftime(t time.Time, format string) string {
	var out strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			out.WriteByte(format[i])
			continue
		}
		i++
		unpadded := format[i] == '-' && i+1 < len(format)
		if unpadded {
			i++
		}
		layout, ok := strftimeLayouts[format[i]]
		switch {
		case format[i] == '%':
			out.WriteByte('%')
		case !ok:
			out.WriteByte('%')
			out.WriteByte(format[i])
		case unpadded:
			s := strings.TrimLeft(t.Format(layout), "0")
			if s == "" {
				s = "0"
			}
			out.WriteString(s)
		default:
			out.WriteString(t.Format(layout))
		}
	}
	return out.String()
}

// toJSON is the filter tojson(indent=none) as transformers defines it: Python's separators, no HTML escapes. Keys are
// sorted: the template engine does not keep their order.
func toJSON(_ *exec.Evaluator, in *exec.Value, args *exec.VarArgs) *exec.Value {
	if in.IsError() {
		return in
	}
	v := in.ToGoSimpleType(false)
	if err, ok := v.(error); ok {
		return exec.AsValue(err)
	}
	indent := args.GetKeywordArgument("indent", nil)
	var out strings.Builder
	var err error
	if indent.IsNil() {
		err = appendJSON(&out, v)
	} else {
		if n := indent.Integer(); n < 0 || n > 16 {
			return exec.AsValue(fmt.Errorf("tojson: indent is %d, want 0 to 16", n))
		}
		e := json.NewEncoder(&out)
		e.SetEscapeHTML(false)
		e.SetIndent("", strings.Repeat(" ", indent.Integer()))
		err = e.Encode(v)
	}
	if err != nil {
		return exec.AsValue(fmt.Errorf("tojson: %w", err))
	}
	return exec.AsSafeValue(strings.TrimSuffix(out.String(), "\n"))
}

func appendJSON(out *strings.Builder, v any) error {
	switch v := v.(type) {
	case []any:
		out.WriteByte('[')
		for i, x := range v {
			if i > 0 {
				out.WriteString(", ")
			}
			if err := appendJSON(out, x); err != nil {
				return err
			}
		}
		out.WriteByte(']')
		return nil
	case map[string]any:
		out.WriteByte('{')
		for i, k := range slices.Sorted(maps.Keys(v)) {
			if i > 0 {
				out.WriteString(", ")
			}
			if err := appendJSON(out, k); err != nil {
				return err
			}
			out.WriteString(": ")
			if err := appendJSON(out, v[k]); err != nil {
				return err
			}
		}
		out.WriteByte('}')
		return nil
	}
	var scalar strings.Builder
	e := json.NewEncoder(&scalar)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	out.WriteString(strings.TrimSuffix(scalar.String(), "\n"))
	return nil
}

// items is the filter of that name: a mapping's pairs, which the library finds only in Go maps.
func items(_ *exec.Evaluator, in *exec.Value, _ *exec.VarArgs) *exec.Value {
	if in.IsError() {
		return in
	}
	if !in.IsNil() && !in.IsDict() {
		return exec.AsValue(errors.New("items needs a mapping"))
	}
	pairs := []any{}
	in.Iterate(func(_, _ int, key, value *exec.Value) bool {
		pairs = append(pairs, []any{key.Interface(), value.Interface()})
		return true
	}, func() {})
	return exec.AsValue(pairs)
}

// checkStatements bounds the length of each expression or tag, and with it the depth of the recursion that parses and
// evaluates it: the library has no such bound, and running out of stack ends the whole process.
func checkStatements(src string, cfg *config.Config) error {
	n := 0
	for s := tokens.LexAll(src, cfg); !s.End(); {
		switch t := s.Next(); t.Type {
		case tokens.VariableBegin, tokens.BlockBegin, tokens.Data:
			n = 0
		default:
			if n++; n > maxStatement {
				return &parser.SyntaxError{Message: fmt.Sprintf("a statement has more than %d parts", maxStatement), Raw: t.Val, Line: t.Line}
			}
		}
	}
	return nil
}
