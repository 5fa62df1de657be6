// SPDX-License-Identifier: MIT

package jsonschema

import (
	"fmt"
	"slices"
	"strings"
)

// properties is an object: its properties in the schema's order, those that may be left out or not, and then others if they are allowed.
// A schema that names properties and says nothing of others allows them; they are not written, which is valid too.
func (c *compiler) properties(where string, s object) (string, error) {
	var named object
	if v, ok := s.get("properties"); ok {
		if named, ok = v.(object); !ok {
			return "", &Error{where, "properties", "want an object of schemas"}
		}
	}
	required, err := names(where, s)
	if err != nil {
		return "", err
	}
	others, some := s.get("additionalProperties")
	if !some {
		others = len(named) == 0
	}
	named = slices.Clone(named)
	for _, name := range required { // one that has no schema is like any other
		if _, ok := named.get(name); !ok {
			named = append(named, member{name, others})
		}
	}
	members := make([]string, len(named))
	for i, m := range named {
		value, err := c.schema(where+"/properties/"+escaped(m.name), m.value)
		if err != nil {
			return "", err
		}
		members[i] = quoted(string(appendJSON(nil, m.name))) + ` ":" ws ` + value
	}
	other, err := c.other(where, others, named)
	if err != nil {
		return "", err
	}
	return c.define(`"{" ws ` + c.inOrder(named, members, required, other) + ` "}"`), nil
}

// inOrder is what stands in an object's braces: members from the i-th on, where something came before them ("after") or not ("first").
func (c *compiler) inOrder(named object, members, required []string, other string) string {
	after, first := "", ""
	if other != "" {
		after = c.define(`("," ws ` + other + ")*")
		first = c.define(other + ` ("," ws ` + other + `)* ws | ""`)
		after = c.define(after + " ws")
	} else {
		after = "ws"
	}
	for i := len(members) - 1; i >= 0; i-- {
		m := c.define(members[i])
		begins := m + " " + after
		if slices.Contains(required, named[i].name) {
			first = c.define(begins)
			after = c.define(`"," ws ` + begins)
			continue
		}
		if first == "" {
			first = `""`
		}
		first = c.define(begins + " | " + first)
		after = c.define(`("," ws ` + m + ")? " + after)
	}
	return first
}

// names reads required.
func names(where string, s object) ([]string, error) {
	v, ok := s.get("required")
	if !ok {
		return nil, nil
	}
	list, ok := v.([]any)
	var out []string
	for _, v := range list {
		name, isText := v.(string)
		ok = ok && isText && !slices.Contains(out, name)
		out = append(out, name)
	}
	if !ok {
		return nil, &Error{where, "required", "want a list of different names"}
	}
	return out, nil
}

// escaped writes a name as a part of a JSON pointer.
func escaped(name string) string {
	return strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1")
}

// other is one property that the schema does not name; "" where there may be none.
func (c *compiler) other(where string, schema any, named object) (string, error) {
	if schema == false {
		return "", nil
	}
	value, err := c.schema(where+"/additionalProperties", schema)
	if err != nil {
		return "", err
	}
	tree := &nameTree{}
	for _, m := range named {
		tree.add([]rune(m.name))
	}
	return c.define(`"\"" ` + c.unlike(tree) + ` "\"" ":" ws ` + value), nil
}

// nameTree is a tree of names, one character a level.
type nameTree struct {
	ends  bool
	chars []rune
	below []*nameTree
}

func (t *nameTree) add(name []rune) {
	if len(name) == 0 {
		t.ends = true
		return
	}
	i := slices.Index(t.chars, name[0])
	if i < 0 {
		i = len(t.chars)
		t.chars, t.below = append(t.chars, name[0]), append(t.below, &nameTree{})
	}
	t.below[i].add(name[1:])
}

// unlike is the rest of a name that is none of the tree's. Such names are written without escapes, so that none can be spelt another way.
func (c *compiler) unlike(t *nameTree) string {
	var list []string
	if !t.ends {
		list = append(list, `""`)
	}
	not := `"\\\x00-\x1f`
	for i, r := range t.chars {
		if r == '"' || r == '\\' || r < ' ' { // cannot come without an escape
			continue
		}
		not += fmt.Sprintf(`\U%08x`, r)
		list = append(list, quoted(string(r))+" "+c.unlike(t.below[i]))
	}
	list = append(list, "[^"+not+`] [^"\\\x00-\x1f]*`)
	return c.define(strings.Join(list, " | "))
}
