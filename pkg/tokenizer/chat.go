// SPDX-License-Identifier: MIT

package tokenizer

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/nikolalohinski/gonja/v2/config"
	"github.com/nikolalohinski/gonja/v2/exec"
	"github.com/nikolalohinski/gonja/v2/loaders"
	"github.com/nikolalohinski/gonja/v2/parser"
)

// Limits on chat templates. The longest in use have about 30 KiB.
const (
	maxTemplate   = 128 << 10 // bytes of source
	maxStatement  = 2000      // tokens of one expression or tag
	maxPrompt     = 16 << 20  // bytes of a rendered prompt
	maxLoopItems  = 1 << 16   // all that range() yields in one rendering
	maxMacroDepth = 64        // macros within macros
)

// Message is one turn of a conversation.
type Message struct {
	Role    string // "system", "user", "assistant" or what else the template knows
	Content string
}

// ChatTemplate renders a conversation as the prompt that the model was trained on.
//
// A template is a program that comes with the model file. It can read no files and its loops over ranges, its recursion
// and its output are bounded; it can still waste memory and time, so it deserves the trust that the model file gets.
type ChatTemplate struct {
	template *exec.Template
	bos, eos string
	now      func() time.Time
}

// ChatTemplate returns the model's own chat template. ok is false without an error when the file has none.
func (t *Tokenizer) ChatTemplate() (c *ChatTemplate, ok bool, err error) {
	if t.template == "" {
		return nil, false, nil
	}
	c, err = NewChatTemplate(t.template, t)
	return c, err == nil, err
}

// NewChatTemplate parses a Jinja template. t provides the names of its BOS and EOS tokens.
func NewChatTemplate(src string, t *Tokenizer) (c *ChatTemplate, err error) {
	defer func() {
		if r := recover(); r != nil {
			c, err = nil, badTemplate("cannot be parsed", fmt.Errorf("%v", r))
		}
	}()
	if len(src) > maxTemplate {
		return nil, badTemplate("cannot be parsed", fmt.Errorf("it has %d bytes, the limit is %d", len(src), maxTemplate))
	}
	cfg := config.New()
	src = prepareTemplate(src)
	if err := checkStatements(src, cfg); err != nil {
		return nil, badTemplate("cannot be parsed", err)
	}
	tmpl, err := exec.NewTemplate(templateName, cfg, onlyTemplate(src), environment)
	if err != nil {
		return nil, badTemplate("cannot be parsed", err)
	}
	c = &ChatTemplate{template: tmpl, now: time.Now}
	if id, ok := t.BOS(); ok {
		c.bos = t.vocab.text[id]
	}
	if id, ok := t.EOS(); ok {
		c.eos = t.vocab.text[id]
	}
	return c, nil
}

// Render returns the prompt for msgs; with addGenerationPrompt it ends where the assistant's answer begins. Encode it
// with ParseSpecial and without AddSpecial: the template writes BOS itself.
func (c *ChatTemplate) Render(msgs []Message, addGenerationPrompt bool) (prompt string, err error) {
	defer func() {
		if r := recover(); r != nil {
			prompt, err = "", badTemplate("failed", fmt.Errorf("%v", r))
		}
	}()
	list := make([]any, len(msgs))
	for i, m := range msgs {
		list[i] = map[string]any{"role": m.Role, "content": m.Content}
	}
	r := &rendering{now: c.now}
	data := exec.NewContext(map[string]any{
		"messages":              list,
		"add_generation_prompt": addGenerationPrompt,
		"bos_token":             c.bos,
		"eos_token":             c.eos,
		"range":                 r.rangeItems,
		"raise_exception":       r.raise,
		"strftime_now":          r.strftimeNow,
		renderingKey:            r,
	})
	var out strings.Builder
	err = c.template.Execute(&limitedWriter{w: &out, left: maxPrompt}, data)
	switch {
	case r.raised != nil:
		return "", fmt.Errorf("the model's chat template refuses this conversation: %s (change the messages, or use --raw to send the text as it is)", *r.raised)
	case err != nil:
		return "", badTemplate("failed", err)
	}
	return out.String(), nil
}

const templateName = "chat template"

// onlyTemplate is the loader of a template that stands alone: there is nothing to include.
type onlyTemplate string

var errNoOtherTemplate = errors.New("a chat template cannot load other templates")

func (s onlyTemplate) Read(name string) (io.Reader, error) {
	if name != templateName {
		return nil, errNoOtherTemplate
	}
	return strings.NewReader(string(s)), nil
}

func (s onlyTemplate) Resolve(string) (string, error)         { return "", errNoOtherTemplate }
func (s onlyTemplate) Inherit(string) (loaders.Loader, error) { return s, nil }

// limitedWriter refuses to grow past left bytes.
type limitedWriter struct {
	w    *strings.Builder
	left int
}

func (l *limitedWriter) Write(p []byte) (int, error) {
	if len(p) > l.left {
		return 0, fmt.Errorf("the prompt exceeds %d bytes", maxPrompt)
	}
	l.left -= len(p)
	return l.w.Write(p)
}

var lineNumber = regexp.MustCompile(`at line (\d+)`)

// badTemplate makes a short message of the template engine's long ones, which quote the source several times over.
func badTemplate(what string, err error) error {
	where := ""
	var syntax *parser.SyntaxError
	if errors.As(err, &syntax) && syntax.Line > 0 {
		where = fmt.Sprintf(" at line %d", syntax.Line)
	} else if m := lineNumber.FindAllStringSubmatch(err.Error(), -1); m != nil {
		where = " at line " + m[len(m)-1][1] // the innermost
	}
	cause := err
	for next := errors.Unwrap(cause); next != nil; next = errors.Unwrap(cause) {
		cause = next
	}
	why := cause.Error()
	if syntax != nil {
		why = fmt.Sprintf("%s (near %q)", syntax.Message, syntax.Raw)
	}
	if i := strings.LastIndex(why, ": "); i >= 0 && len(why) > 200 {
		why = why[i+2:]
	}
	if len(why) > 200 {
		why = strings.ToValidUTF8(why[:200], "") + "…"
	}
	return fmt.Errorf("the model's chat template %s%s: %s (use --raw to send the text as it is)", what, where, why)
}
