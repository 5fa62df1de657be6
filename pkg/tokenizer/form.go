// SPDX-License-Identifier: MIT

package tokenizer

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// mark is a special token, or text, as an expression of the grammar language (docs/grammar.md).
func (t *Tokenizer) mark(name string) string {
	if id, ok := t.vocab.ids[name]; ok && t.hidden(protocol.TokenID(id)) {
		return fmt.Sprintf("<[%d]>", id)
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"`
}

// has reports whether the vocabulary has a special token.
func (t *Tokenizer) has(name string) bool {
	id, ok := t.vocab.ids[name]
	return ok && t.vocab.kind(id) != kindNormal
}

// harmony reports whether the vocabulary speaks the harmony format.
func (t *Tokenizer) harmony() bool {
	for _, n := range harmonyNames {
		if !t.has(n) {
			return false
		}
	}
	return true
}

// AnswerForm is an expression of the grammar language for an answer to a prompt whose content is held to an expression: with the reasoning
// before it that the model may give, or that the prompt has begun.
func (t *Tokenizer) AnswerForm(prompt, content string) string {
	if t.harmony() {
		return t.analyses() + t.mark("<|channel|>") + ` "final" ` + t.mark("<|message|>") + " " + content
	}
	prompt = strings.TrimRightFunc(prompt, unicode.IsSpace)
	for _, pair := range tagPairs {
		thought := "~" + t.mark(pair[1]) + ` [\n\r\t ]{0,8} `
		switch {
		case strings.HasSuffix(prompt, pair[0]):
			return thought + content
		case strings.HasSuffix(prompt, pair[1]): // it has thought already
			return content
		case t.has(pair[0]) && t.has(pair[1]):
			return "(" + t.mark(pair[0]) + " " + thought + ")? " + content
		}
	}
	return content
}

// analyses are harmony's messages of reasoning.
func (t *Tokenizer) analyses() string {
	return "(" + t.mark("<|channel|>") + ` "analysis" ` + t.mark("<|message|>") + " ~" + t.mark("<|end|>") + " " + t.mark("<|start|>") + ` "assistant")* `
}

// CallForm is an expression for an answer that calls tools: one of names, whose arguments are held to the expression of the same number.
// Several may be called if the syntax has that and many is set.
func (t *Tokenizer) CallForm(prompt string, syntax CallSyntax, names, arguments []string, many bool) string {
	key := `"\"arguments\":"`
	if syntax == CallsBare {
		key = `"\"parameters\":"`
	}
	var list []string
	for i, name := range names {
		if syntax == CallsHarmony {
			list = append(list, fmt.Sprintf(`"%s" (" " %s "json")? %s %s`, name, t.mark("<|constrain|>"), t.mark("<|message|>"), arguments[i]))
		} else {
			list = append(list, fmt.Sprintf(`"{" ws "\"name\":" ws "\"%s\"," ws %s ws %s ws "}"`, name, key, arguments[i]))
		}
	}
	one := "(" + strings.Join(list, " | ") + ")"
	more := func(between, call string) string {
		if many {
			return " (" + between + " " + call + ")*"
		}
		return ""
	}
	switch syntax {
	case CallsTagged:
		one = t.mark("<tool_call>") + " ws " + one + " ws " + t.mark("</tool_call>")
		one += more("ws", one)
	case CallsList:
		one = t.mark("[TOOL_CALLS]") + ` " "? "[" ws ` + one + more(`"," ws`, one) + ` ws "]"`
	case CallsHarmony:
		return t.analyses() + t.mark("<|channel|>") + ` "commentary to=functions." ` + one
	case CallsBare, CallsUnknown:
	}
	return t.AnswerForm(prompt, one)
}
