// SPDX-License-Identifier: MIT

package jsonschema

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
)

// hasType reports whether a value is of a type.
func hasType(v any, t string) bool {
	switch v := v.(type) {
	case nil:
		return t == "null"
	case bool:
		return t == "boolean"
	case string:
		return t == "string"
	case []any:
		return t == "array"
	case object:
		return t == "object"
	case json.Number:
		f, err := v.Float64()
		return t == "number" || t == "integer" && err == nil && f == math.Trunc(f)
	}
	return false
}

// follow returns the object that a schema is, after references; false for others.
func (c *compiler) follow(schema any) (object, bool) {
	for range 16 {
		s, ok := schema.(object)
		if !ok {
			return nil, false
		}
		ref, ok := s.get("$ref")
		if !ok {
			return s, true
		}
		name, _ := ref.(string)
		if name == "" || name[0] != '#' {
			return nil, false
		}
		if schema, ok = pointer(c.root, name[1:]); !ok {
			return nil, false
		}
	}
	return nil, false
}

// disjoint reports whether it is plain that no value is valid by both schemas: they allow different types, different constants, or
// objects with a property for which that holds.
func (c *compiler) disjoint(a, b any, depth int) bool {
	x, ok1 := c.follow(a)
	y, ok2 := c.follow(b)
	if !ok1 || !ok2 || depth > 8 {
		return false
	}
	s, fixed1 := constants(x)
	t, fixed2 := constants(y)
	if fixed1 && fixed2 {
		return !slices.ContainsFunc(s, func(v any) bool { return slices.ContainsFunc(t, func(w any) bool { return maybeEqual(v, w) }) })
	}
	p, q := accepted(x, s, fixed1), accepted(y, t, fixed2)
	if !slices.ContainsFunc(p, func(v string) bool { return slices.Contains(q, v) }) {
		return true
	}
	return c.discriminated(x, y, depth)
}

// accepted lists the types of what may be valid.
func accepted(s object, values []any, fixed bool) []string {
	if fixed {
		return slices.DeleteFunc(slices.Clone(allTypes), func(t string) bool {
			return !slices.ContainsFunc(values, func(v any) bool { return hasType(v, t) })
		})
	}
	if _, ok := s.get("type"); !ok {
		return allTypes
	}
	types, _ := typesOf("", s)
	types = slices.Clone(types)
	for i, t := range types {
		if t == "integer" {
			types[i] = "number"
		}
	}
	return types
}

// discriminated reports whether both are of objects that need a property which tells them apart.
func (c *compiler) discriminated(x, y object, depth int) bool {
	for _, s := range []object{x, y} {
		if types, err := typesOf("", s); err != nil || !slices.Equal(types, []string{"object"}) {
			return false
		}
	}
	need, err1 := names("", x)
	also, err2 := names("", y)
	if err1 != nil || err2 != nil {
		return false
	}
	property := func(s object, name string) any {
		if v, ok := s.get("properties"); ok {
			if o, ok := v.(object); ok {
				v, _ := o.get(name)
				return v
			}
		}
		return nil
	}
	return slices.ContainsFunc(need, func(name string) bool {
		return slices.Contains(also, name) && c.disjoint(property(x, name), property(y, name), depth+1)
	})
}

// constants returns the values of an enum or a const.
func constants(s object) ([]any, bool) {
	if v, ok := s.get("const"); ok {
		return []any{v}, true
	}
	v, ok := s.get("enum")
	list, isList := v.([]any)
	return list, ok && isList
}

// maybeEqual compares plain values; others may be equal.
func maybeEqual(v, w any) bool {
	a, aNumber := v.(json.Number)
	b, bNumber := w.(json.Number)
	if aNumber && bNumber {
		x, err1 := a.Float64()
		y, err2 := b.Float64()
		return err1 != nil || err2 != nil || x == y
	}
	for _, t := range allTypes {
		if hasType(v, t) != hasType(w, t) {
			return false
		}
	}
	switch v.(type) {
	case object, []any:
		return true
	}
	return fmt.Sprint(v) == fmt.Sprint(w)
}
