// SPDX-License-Identifier: MIT

package jsonschema

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// validate is a second opinion: it says why a document is not valid by a schema, as the specification of JSON Schema has it.
func validate(root, schema, doc any) error {
	s, ok := schema.(map[string]any)
	if !ok {
		if schema == true {
			return nil
		}
		return fmt.Errorf("%v is not allowed", doc)
	}
	if ref, ok := s["$ref"].(string); ok {
		at := root
		for _, step := range strings.Split(ref, "/")[1:] {
			at = at.(map[string]any)[step]
		}
		if ref == "#" {
			at = root
		}
		return validate(root, at, doc)
	}
	if c, ok := s["const"]; ok && !reflect.DeepEqual(c, doc) {
		return fmt.Errorf("%v is not %v", doc, c)
	}
	if list, ok := s["enum"].([]any); ok && !slices.ContainsFunc(list, func(v any) bool { return reflect.DeepEqual(v, doc) }) {
		return fmt.Errorf("%v is none of %v", doc, list)
	}
	for _, keyword := range []string{"anyOf", "oneOf", "allOf"} {
		list, ok := s[keyword].([]any)
		if !ok {
			continue
		}
		n := 0
		for _, sub := range list {
			if validate(root, sub, doc) == nil {
				n++
			}
		}
		if keyword == "anyOf" && n == 0 || keyword == "oneOf" && n != 1 || keyword == "allOf" && n != len(list) {
			return fmt.Errorf("%v is valid by %d of %s", doc, n, keyword)
		}
	}
	if t, ok := s["type"]; ok {
		list, ok := t.([]any)
		if !ok {
			list = []any{t}
		}
		if !slices.ContainsFunc(list, func(t any) bool { return isType(doc, t.(string)) }) {
			return fmt.Errorf("%v is no %v", doc, t)
		}
	}
	switch doc := doc.(type) {
	case string:
		return validText(s, doc)
	case float64:
		return validNumber(s, doc)
	case []any:
		return validItems(root, s, doc)
	case map[string]any:
		return validProperties(root, s, doc)
	}
	return nil
}

func isType(doc any, t string) bool {
	switch doc := doc.(type) {
	case nil:
		return t == "null"
	case bool:
		return t == "boolean"
	case string:
		return t == "string"
	case float64:
		return t == "number" || t == "integer" && doc == math.Trunc(doc)
	case []any:
		return t == "array"
	}
	return t == "object"
}

func validText(s map[string]any, doc string) error {
	n := float64(utf8.RuneCountInString(doc))
	if least, ok := s["minLength"].(float64); ok && n < least {
		return fmt.Errorf("%q is too short", doc)
	}
	if most, ok := s["maxLength"].(float64); ok && n > most {
		return fmt.Errorf("%q is too long", doc)
	}
	if p, ok := s["pattern"].(string); ok && !regexp.MustCompile(p).MatchString(doc) {
		return fmt.Errorf("%q does not match %s", doc, p)
	}
	layout, ok := map[any]string{"date": time.DateOnly, "date-time": time.RFC3339Nano, "time": "15:04:05.999999999Z07:00"}[s["format"]]
	if _, err := time.Parse(layout, doc); ok && err != nil {
		return err
	}
	return nil
}

func validNumber(s map[string]any, doc float64) error {
	for keyword, bad := range map[string]func(limit float64) bool{
		"minimum": func(l float64) bool { return doc < l }, "maximum": func(l float64) bool { return doc > l },
		"exclusiveMinimum": func(l float64) bool { return doc <= l }, "exclusiveMaximum": func(l float64) bool { return doc >= l },
	} {
		if limit, ok := s[keyword].(float64); ok && bad(limit) {
			return fmt.Errorf("%v is beyond the %s of %v", doc, keyword, limit)
		}
	}
	return nil
}

func validItems(root any, s map[string]any, doc []any) error {
	if least, ok := s["minItems"].(float64); ok && float64(len(doc)) < least {
		return fmt.Errorf("%d items", len(doc))
	}
	if most, ok := s["maxItems"].(float64); ok && float64(len(doc)) > most {
		return fmt.Errorf("%d items", len(doc))
	}
	if items, ok := s["items"]; ok {
		for _, v := range doc {
			if err := validate(root, items, v); err != nil {
				return err
			}
		}
	}
	return nil
}

func validProperties(root any, s map[string]any, doc map[string]any) error {
	properties, _ := s["properties"].(map[string]any)
	required, _ := s["required"].([]any)
	for _, name := range required {
		if _, ok := doc[name.(string)]; !ok {
			return fmt.Errorf("%v is missing", name)
		}
	}
	for name, v := range doc {
		schema, named := properties[name]
		if others, ok := s["additionalProperties"]; !named && ok {
			schema = others
		} else if !named {
			schema = true
		}
		if err := validate(root, schema, v); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// parsed is a JSON value as encoding/json has it.
func parsed(raw []byte) (v any, err error) {
	err = json.Unmarshal(raw, &v)
	return v, err
}
