// SPDX-License-Identifier: MIT

// Package jsonschema makes a grammar (package grammar) of a JSON schema: what the grammar derives is valid by the schema. It knows a
// part of JSON Schema (docs/api.md); a keyword outside of it is an error that names the keyword and where it stands, never ignored. The
// coordinator calls it. It is pure.
package jsonschema

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/shardnode/shardnode/pkg/grammar"
)

// Limits.
const (
	MaxSchema  = 64 << 10 // bytes of a schema
	maxNesting = 64       // values of a schema within each other
	maxItems   = 4096     // of minItems, maxItems, minLength and maxLength
	maxEnum    = 1024     // values of an enum
)

// Error says what a schema has that cannot be had.
type Error struct {
	Where   string // JSON pointer
	Keyword string // "": the schema as a whole
	Message string
}

func (e *Error) Error() string {
	where := "schema"
	if e.Where != "" {
		where += " at " + e.Where
	}
	if e.Keyword != "" {
		where += ": " + e.Keyword
	}
	return where + ": " + e.Message
}

// AnyObject is the schema of JSON objects.
var AnyObject = []byte(`{"type":"object"}`)

// Rules returns the rules of a grammar, without a rule root: the rule whose name is returned derives what is valid by the schema. Names
// begin with prefix: several schemas can be parts of one grammar, with [Common].
func Rules(schema []byte, prefix string) (name, rules string, err error) {
	if len(schema) > MaxSchema {
		return "", "", &Error{"", "", fmt.Sprintf("%d bytes, at most %d are allowed", len(schema), MaxSchema)}
	}
	root, err := parseJSON(schema)
	if err != nil {
		return "", "", &Error{"", "", err.Error()}
	}
	c := &compiler{prefix: prefix, root: root, refs: map[string]string{}}
	name, err = c.ref("")
	if err != nil {
		return "", "", err
	}
	return name, c.out.String(), nil
}

// Grammar returns the grammar of one schema.
func Grammar(schema []byte) (string, error) {
	name, rules, err := Rules(schema, "s")
	if err != nil {
		return "", err
	}
	source := "root ::= " + name + "\n" + rules + Common
	if _, err := grammar.Compile(source); err != nil {
		return "", &Error{"", "", "cannot be followed: " + strings.TrimPrefix(err.Error(), "grammar: ")}
	}
	return source, nil
}

// Common has the rules that those of [Rules] refer to.
const Common = `ws ::= (" " | "\n" [ \t]{0,32})?
char ::= [^"\\\x00-\x1f] | "\\" (["\\/bfnrt] | "u" ([0-9a-cA-CeEfF] hex{3} | [dD] [0-7] hex{2}))
hex ::= [0-9a-fA-F]
string ::= "\"" char* "\""
integer ::= "-"? ("0" | [1-9] [0-9]{0,15})
number ::= integer ("." [0-9]{1,16})? ([eE] [\-+]? [0-9]{1,2})?
boolean ::= "true" | "false"
null ::= "null"
array ::= "[" ws (value ("," ws value)* ws)? "]"
object ::= "{" ws (string ":" ws value ("," ws string ":" ws value)* ws)? "}"
value ::= object | array | string | number | boolean | null
`

// compiler makes the rules of one schema.
type compiler struct {
	prefix string
	root   any
	out    strings.Builder
	rules  int
	refs   map[string]string // rules by the pointer of their schema
}

// define adds a rule and returns its name.
func (c *compiler) define(body string) string {
	c.rules++
	name := c.prefix + strconv.Itoa(c.rules)
	c.out.WriteString(name + " ::= " + body + "\n")
	return name
}

// ref returns the rule of the schema at a pointer. A schema that is met again is the rule that it was: so it may refer to itself.
func (c *compiler) ref(where string) (string, error) {
	if name, ok := c.refs[where]; ok {
		return name, nil
	}
	schema, ok := pointer(c.root, where)
	if !ok {
		return "", &Error{where, "$ref", "there is nothing at #" + where}
	}
	name := fmt.Sprintf("%sr%d", c.prefix, len(c.refs))
	c.refs[where] = name
	body, err := c.schema(where, schema)
	if err != nil {
		return "", err
	}
	c.out.WriteString(name + " ::= " + body + "\n")
	return name, nil
}

// schema returns an expression of what is valid by a schema. It is one atom, or a choice in parentheses.
func (c *compiler) schema(where string, schema any) (string, error) {
	if c.out.Len() > grammar.MaxSource {
		return "", &Error{where, "", "its grammar is too long"}
	}
	switch s := schema.(type) {
	case bool:
		if !s {
			return "[]", nil
		}
		return "value", nil
	case object:
		if err := c.known(where, s); err != nil {
			return "", err
		}
		return c.object(where, s)
	}
	return "", &Error{where, "", "want an object, true or false"}
}

// notes are keywords that say nothing about what is valid.
var notes = []string{
	"$schema", "$id", "$comment", "$defs", "definitions", "title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly",
}

// byType are the keywords about values of a type.
var byType = map[string][]string{
	"object":  {"properties", "required", "additionalProperties"},
	"array":   {"items", "minItems", "maxItems"},
	"string":  {"minLength", "maxLength", "pattern", "format"},
	"integer": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"},
	"number":  {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"},
	"boolean": nil,
	"null":    nil,
}

// choices are keywords that stand alone, but for notes.
var choices = []string{"$ref", "enum", "const", "anyOf", "oneOf", "allOf"}

// known refuses a keyword that is not supported.
func (c *compiler) known(where string, s object) error {
	for _, m := range s {
		ok := m.name == "type" || slices.Contains(notes, m.name) || slices.Contains(choices, m.name)
		for _, names := range byType {
			ok = ok || slices.Contains(names, m.name)
		}
		if !ok {
			return &Error{where, m.name, "not supported"}
		}
	}
	return nil
}

func (c *compiler) object(where string, s object) (string, error) {
	for _, choice := range choices {
		v, ok := s.get(choice)
		if !ok {
			continue
		}
		for _, m := range s {
			values := choice == "enum" || choice == "const"
			if m.name != choice && !slices.Contains(notes, m.name) && !(values && m.name == "type") {
				return "", &Error{where, m.name, "not supported beside " + choice}
			}
		}
		return c.choice(where, s, choice, v)
	}
	types, err := typesOf(where, s)
	if err != nil {
		return "", err
	}
	var alternatives []string
	for _, t := range types {
		e, err := c.typed(where, t, s)
		if err != nil {
			return "", err
		}
		alternatives = append(alternatives, e)
	}
	return either(alternatives), nil
}

// either is a choice of expressions.
func either(list []string) string {
	if len(list) == 1 {
		return list[0]
	}
	return "(" + strings.Join(list, " | ") + ")"
}

func (c *compiler) choice(where string, s object, keyword string, v any) (string, error) {
	at := where + "/" + keyword
	switch keyword {
	case "$ref":
		ref, ok := v.(string)
		if !ok || !strings.HasPrefix(ref, "#") {
			return "", &Error{where, "$ref", "want a place in this schema, such as #/$defs/name"}
		}
		return c.ref(ref[1:])
	case "const":
		return c.values(where, keyword, s, []any{v})
	case "enum":
		list, ok := v.([]any)
		if !ok || len(list) == 0 || len(list) > maxEnum {
			return "", &Error{where, "enum", fmt.Sprintf("want a list of 1 to %d values", maxEnum)}
		}
		return c.values(where, keyword, s, list)
	}
	list, ok := v.([]any)
	if !ok || len(list) == 0 {
		return "", &Error{where, keyword, "want a list of schemas"}
	}
	if keyword == "allOf" && len(list) > 1 {
		return "", &Error{where, "allOf", "not supported with more than one schema"}
	}
	var alternatives []string
	for i, schema := range list {
		if keyword == "oneOf" {
			for j := range i {
				if !c.disjoint(list[j], schema, 0) {
					return "", &Error{where, "oneOf", fmt.Sprintf("schemas %d and %d are not known to exclude each other: use anyOf, or give them a property with different const values", j, i)}
				}
			}
		}
		e, err := c.schema(at+"/"+strconv.Itoa(i), schema)
		if err != nil {
			return "", err
		}
		alternatives = append(alternatives, e)
	}
	return c.define(strings.Join(alternatives, " | ")), nil
}

// values are those of an enum that have a type which is allowed beside it.
func (c *compiler) values(where, keyword string, s object, list []any) (string, error) {
	types := allTypes
	if _, ok := s.get("type"); ok {
		var err error
		if types, err = typesOf(where, s); err != nil {
			return "", err
		}
	}
	var alternatives []string
	for _, v := range list {
		if slices.ContainsFunc(types, func(t string) bool { return hasType(v, t) }) {
			alternatives = append(alternatives, quoted(string(appendJSON(nil, v))))
		}
	}
	if len(alternatives) == 0 {
		return "", &Error{where, keyword, "no value has the type"}
	}
	return c.define(strings.Join(alternatives, " | ")), nil
}

// quoted writes a text as the grammar language has it.
func quoted(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteString(`\` + string(r))
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// allTypes are the types of values; every integer is a number too.
var allTypes = []string{"object", "array", "string", "number", "boolean", "null"}

// typesOf lists the types that a schema allows. One that does not say is about those that its keywords are about; without such, about all.
func typesOf(where string, s object) ([]string, error) {
	v, ok := s.get("type")
	if !ok {
		var types []string
		for _, t := range allTypes {
			if slices.ContainsFunc(byType[t], func(k string) bool { _, ok := s.get(k); return ok }) {
				types = append(types, t)
			}
		}
		if types == nil {
			types = allTypes
		}
		return types, nil
	}
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	var types []string
	for _, v := range list {
		t, _ := v.(string)
		if _, ok := byType[t]; !ok {
			return nil, &Error{where, "type", "want object, array, string, number, integer, boolean, null, or a list of them"}
		}
		types = append(types, t)
	}
	if len(types) == 0 {
		return nil, &Error{where, "type", "an empty list"}
	}
	return types, nil
}

// typed is what a schema allows of a type.
func (c *compiler) typed(where, t string, s object) (string, error) {
	constrained := slices.ContainsFunc(byType[t], func(k string) bool { _, ok := s.get(k); return ok })
	switch {
	case !constrained:
		return t, nil // a rule of Common
	case t == "object":
		return c.properties(where, s)
	case t == "array":
		return c.items(where, s)
	case t == "string":
		return c.text(where, s)
	}
	return c.number(where, t, s)
}

// count reads a keyword that is a number of things; absent is what it is without.
func count(where, keyword string, s object, absent int) (int, error) {
	v, ok := s.get(keyword)
	if !ok {
		return absent, nil
	}
	n, err := strconv.ParseUint(fmt.Sprint(v), 10, 31)
	if err != nil || n > maxItems {
		return 0, &Error{where, keyword, fmt.Sprintf("want a whole number up to %d", maxItems)}
	}
	return int(n), nil
}

// times is a repetition; most below 0 is none.
func times(least, most int) string {
	if most < 0 {
		return fmt.Sprintf("{%d,}", least)
	}
	return fmt.Sprintf("{%d,%d}", least, most)
}

func (c *compiler) items(where string, s object) (string, error) {
	item := "value"
	if v, ok := s.get("items"); ok {
		e, err := c.schema(where+"/items", v)
		if err != nil {
			return "", err
		}
		item = c.define(e)
	}
	least, err1 := count(where, "minItems", s, 0)
	most, err2 := count(where, "maxItems", s, -1)
	if err := errors.Join(err1, err2); err != nil {
		return "", err
	}
	switch {
	case most >= 0 && most < least:
		return "", &Error{where, "maxItems", "less than minItems"}
	case most == 0:
		return c.define(`"[" ws "]"`), nil
	}
	list := item + ` ("," ws ` + item + ")" + times(max(least-1, 0), most-1) + " ws"
	if most < 0 {
		list = item + ` ("," ws ` + item + ")" + times(max(least-1, 0), -1) + " ws"
	}
	if least == 0 {
		list = "(" + list + ")?"
	}
	return c.define(`"[" ws ` + list + ` "]"`), nil
}
