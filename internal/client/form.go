// SPDX-License-Identifier: MIT

package client

import (
	"errors"
	"fmt"
	"strings"

	"github.com/shardnode/shardnode/internal/jsonschema"
	"github.com/shardnode/shardnode/pkg/grammar"
	"github.com/shardnode/shardnode/pkg/tokenizer"
)

// Calling says which tools must be called. The zero value leaves that to the model.
type Calling struct {
	Must bool
	Name string // the tool; "": any
	One  bool   // no more than one call
}

// FormError says that an answer cannot be held to what was asked: a JSON schema, a grammar, or a tool.
type FormError struct {
	Tool int // the tool whose parameters it is about; below 0: none
	Err  error
}

func (e *FormError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *FormError) Unwrap() error { return e.Err }

// errNoCalls is why a request with tools is refused.
var errNoCalls = errors.New("the model's chat template has no syntax for calls of tools that is known here: ask without tools")

// errEndsForm is why local ends refuse what the last node would do beside drawing.
var errEndsForm = errors.New("with local ends answers are not held to a grammar or schema, and no log probabilities are told: ask without them, or go without --local-ends")

// form returns the grammar that a request's answer is held to; "": none. The answer follows a prompt that a chat template rendered, if
// any did.
func (m *Model) form(req *Request, rendered string, syntax tokenizer.CallSyntax) (string, error) {
	root, rules := "", ""
	switch {
	case req.Grammar != "":
		if _, err := grammar.Compile(req.Grammar); err != nil {
			return "", &FormError{-1, err}
		}
		return req.Grammar, nil
	case req.Schema != nil:
		name, schemaRules, err := jsonschema.Rules(req.Schema, "s")
		if err != nil {
			return "", &FormError{-1, err}
		}
		if root, rules = name, schemaRules; rendered != "" {
			root = m.Tokenizer.AnswerForm(rendered, name)
		}
	case req.Calling.Must:
		var err error
		if root, rules, err = m.calls(req, rendered, syntax); err != nil {
			return "", err
		}
	default:
		return "", nil
	}
	source := "root ::= " + root + "\n" + rules + jsonschema.Common
	if _, err := grammar.Compile(source); err != nil {
		return "", &FormError{-1, fmt.Errorf("schema: cannot be followed: %s", strings.TrimPrefix(err.Error(), "grammar: "))}
	}
	return source, nil
}

// calls are root and rules for an answer that must call tools.
func (m *Model) calls(req *Request, rendered string, syntax tokenizer.CallSyntax) (root, rules string, err error) {
	var names, arguments []string
	var b strings.Builder
	for i, t := range req.Tools {
		if req.Calling.Name != "" && t.Name != req.Calling.Name {
			continue
		}
		schema := []byte(t.Parameters)
		if len(schema) == 0 {
			schema = []byte(`{"type":"object","additionalProperties":false}`)
		}
		name, schemaRules, err := jsonschema.Rules(schema, fmt.Sprintf("t%dx", i))
		if err != nil {
			return "", "", &FormError{i, err}
		}
		b.WriteString(schemaRules)
		names, arguments = append(names, t.Name), append(arguments, name)
	}
	if names == nil {
		return "", "", &FormError{-1, fmt.Errorf("there is no tool %q", req.Calling.Name)}
	}
	return m.Tokenizer.CallForm(rendered, syntax, names, arguments, !req.Calling.One), b.String(), nil
}
