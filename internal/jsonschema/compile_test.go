// SPDX-License-Identifier: MIT

package jsonschema

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/shardnode/shardnode/pkg/grammar"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// accepts reports whether a document, byte for byte, is what a schema's grammar derives.
func accepts(tb testing.TB, schema, doc string) bool {
	tb.Helper()
	source, err := Grammar([]byte(schema))
	if err != nil {
		tb.Fatalf("%s: %v", schema, err)
	}
	g, err := grammar.Compile(source)
	if err != nil {
		tb.Fatal(err)
	}
	v, err := vocabulary()
	if err != nil {
		tb.Fatal(err)
	}
	m, err := grammar.NewMatcher(g, v)
	if err != nil {
		tb.Fatal(err)
	}
	var ids []protocol.TokenID
	for i := range len(doc) {
		allowed, err := m.Allowed(ids)
		if err != nil {
			tb.Fatal(err)
		}
		if allowed[doc[i]/64]>>(doc[i]%64)&1 == 0 {
			return false
		}
		ids = append(ids, protocol.TokenID(doc[i]))
	}
	allowed, err := m.Allowed(ids)
	if err != nil {
		tb.Fatal(err)
	}
	return allowed[end/64]>>(end%64)&1 == 1
}

func TestSchemas(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		schema  string
		yes, no []string
	}{
		{`true`, []string{`null`, `{"a": [1,2.5e3,"x"]}`, `[ ]`, `-0.5`, `"\u00e9\n"`}, []string{`01`, `"\ud800"`, "\"\n\"", `nul`, `[1,]`, `1.`, ` 1`}},
		{`{"type":"object"}`, []string{`{}`, `{ "x": {} }`, "{\n  \"x\": 1\n}"}, []string{`[]`, `{"x"}`}},
		{
			`{"type":"object","properties":{"b":{"type":"integer"},"a":{"type":"string"}},"required":["b"]}`,
			[]string{`{"b":1}`, `{"b": 1, "a": "x"}`}, []string{`{}`, `{"a":"x","b":1}`, `{"b":1,"c":2}`, `{"b":1.5}`, `{"b":1,}`},
		},
		{
			`{"properties":{"a":{},"b":{},"c":{}},"required":["c"],"additionalProperties":false}`,
			[]string{`{"c":1}`, `{"a":1,"c":1}`, `{"b":1,"c":1}`, `{"a":1,"b":1,"c":1}`}, []string{`{"a":1}`, `{"c":1,"b":1}`},
		},
		{
			`{"type":"object","properties":{"ab":{"type":"null"}},"additionalProperties":{"type":"boolean"}}`,
			[]string{`{"ab":null,"a":true}`, `{"abc":true}`, `{"":false}`, `{"x":true,"y":false}`}, []string{`{"ab":true}`, `{"ab":null,"ab":true}`, `{"a":null}`, `{"\u0061b":true}`},
		},
		{`{"enum":["a","ab",1,null,{"x":[true]}]}`, []string{`"a"`, `"ab"`, `1`, `null`, `{"x":[true]}`}, []string{`"b"`, `12`}},
		{`{"type":"string","enum":["a",1]}`, []string{`"a"`}, []string{`1`}},
		{`{"type":"integer","minimum":-12,"maximum":105}`, []string{`-12`, `-1`, `0`, `9`, `99`, `100`, `105`}, []string{`-13`, `106`, `-0`, `1000`, `007`}},
		{`{"type":"integer","exclusiveMinimum":9,"exclusiveMaximum":12}`, []string{`10`, `11`}, []string{`9`, `12`}},
		{`{"type":"number","minimum":-1,"maximum":2}`, []string{`-1`, `-1.0`, `-0.5`, `0.25`, `1.99`, `2`, `2.000`}, []string{`-1.5`, `2.1`, `3`, `1e2`}},
		{`{"type":"number","minimum":0}`, []string{`0`, `12345.5`}, []string{`-1`}},
		{`{"type":"array","items":{"type":"null"},"minItems":1,"maxItems":2}`, []string{`[null]`, `[null, null]`}, []string{`[]`, `[null,null,null]`}},
		{`{"type":"array","maxItems":0}`, []string{`[]`, `[ ]`}, []string{`[1]`}},
		{`{"type":"string","minLength":1,"maxLength":2}`, []string{`"é"`, `"\n\""`, `"日本"`}, []string{`""`, `"abc"`}},
		{`{"type":"string","pattern":"^a\"[0-9]+$"}`, []string{`"a\"12"`}, []string{`"a\""`, `"xa\"1"`}},
		{`{"type":"string","pattern":"b"}`, []string{`"abc"`, `"b"`}, []string{`"ac"`}},
		{`{"type":"string","format":"date"}`, []string{`"2024-02-28"`, `"1999-12-31"`}, []string{`"2024-02-30"`, `"2024-13-01"`}},
		{`{"$ref":"#/$defs/n~1~0","$defs":{"n/~":{"type":"array","items":{"$ref":"#/$defs/n~1~0"}}}}`, []string{`[]`, `[[],[[]]]`}, []string{`[1]`}},
		{`{"type":"object","properties":{"next":{"anyOf":[{"$ref":"#"},{"type":"null"}]}},"required":["next"]}`, []string{`{"next":{"next":null}}`}, []string{`{"next":{}}`}},
		{`{"type":["string","null"],"maxLength":1}`, []string{`null`, `"a"`}, []string{`"ab"`, `1`}},
		{`{"allOf":[{"type":"null"}],"title":"x"}`, []string{`null`}, []string{`1`}},
	} {
		for _, doc := range c.yes {
			if !accepts(t, c.schema, doc) {
				t.Errorf("%s: %s is not derived", c.schema, doc)
			}
		}
		for _, doc := range c.no {
			if accepts(t, c.schema, doc) {
				t.Errorf("%s: %s is derived", c.schema, doc)
			}
		}
	}
}

func TestRefusesSchemas(t *testing.T) {
	t.Parallel()
	for schema, want := range map[string]string{
		``:                        "not valid JSON",
		`{`:                       "not valid JSON",
		`{} {}`:                   "something follows",
		`[]`:                      "want an object, true or false",
		`{"type":"strin"}`:        "schema: type: want object",
		`{"type":[]}`:             "an empty list",
		`{"type":"a","type":"b"}`: `"type" is there twice`,
		`{"not":{}}`:              "schema: not: not supported",
		`{"properties":{"a":{"items":{"multipleOf":2}}}}`:                    "schema at /properties/a/items: multipleOf: not supported",
		`{"properties":{"a":{"patternProperties":{}}}}`:                      "schema at /properties/a: patternProperties: not supported",
		`{"anyOf":[{}],"properties":{}}`:                                     "properties: not supported beside anyOf",
		`{"anyOf":[]}`:                                                       "want a list of schemas",
		`{"oneOf":[{"type":"integer"},{"type":"number"}]}`:                   "not known to exclude each other",
		`{"oneOf":[{"const":1},{"const":1.0}]}`:                              "not known to exclude each other",
		`{"oneOf":[{"type":"string"},{"properties":{"a":{}}}]}`:              "not known to exclude each other",
		`{"allOf":[{},{}]}`:                                                  "allOf: not supported with more than one",
		`{"$ref":"other.json"}`:                                              "want a place in this schema",
		`{"$ref":"#/$defs/x"}`:                                               "there is nothing at #/$defs/x",
		`{"$ref":"#"}`:                                                       "no text can be completed",
		`{"type":"object","properties":{"a":{"$ref":"#"}},"required":["a"]}`: "no text can be completed",
		`{"enum":[]}`:                                                        "want a list of 1",
		`{"enum":[1],"type":"string"}`:                                       "no value has the type",
		`{"required":["a","a"]}`:                                             "different names",
		`{"properties":[]}`:                                                  "want an object of schemas",
		`{"minLength":-1}`:                                                   "want a whole number",
		`{"maxItems":5000}`:                                                  "up to 4096",
		`{"minItems":2,"maxItems":1}`:                                        "less than minItems",
		`{"type":"integer","minimum":1.5}`:                                   "want a whole number",
		`{"type":"number","exclusiveMinimum":0}`:                             "supported for integers only",
		`{"type":"integer","minimum":3,"maximum":2}`:                         "above the maximum",
		`{"format":"email"}`:                                                 "only date",
		`{"pattern":"("}`:                                                    "missing closing",
		`{"pattern":"a^b"}`:                                                  "an anchor that is not at an end",
		`{"pattern":"^a|b"}`:                                                 "some alternatives are anchored",
		`{"pattern":"\\bx"}`:                                                 "is not supported",
		`{"pattern":"(?i)x"}`:                                                "(?i) is not supported",
		`{"pattern":"x","maxLength":3}`:                                      "maxLength: not supported beside pattern",
		strings.Repeat(`{"items":`, 70) + `{}` + strings.Repeat(`}`, 70):     "within each other",
		strings.Repeat(" ", MaxSchema+1):                                     "at most",
		`{"type":"array","items":{"type":"string","minLength":4000},"minItems":4000}`: "",
	} {
		_, err := Grammar([]byte(schema))
		var bad *Error
		switch {
		case want == "" && err != nil:
			t.Errorf("%.80s: %v", schema, err)
		case want != "" && (!errors.As(err, &bad) || !strings.Contains(err.Error(), want)):
			t.Errorf("%.80s: %v, want %q", schema, err, want)
		}
	}
}

// TestCommonValues keeps the limits of packages that do not know each other together, and the rules for any value.
func TestCommonValues(t *testing.T) {
	t.Parallel()
	if grammar.MaxSource != protocol.MaxGrammar {
		t.Errorf("grammars of %d bytes, %d fit into a frame", grammar.MaxSource, protocol.MaxGrammar)
	}
	rng := rand.New(rand.NewPCG(5, 6))
	for range 50 {
		if doc := draw(t, "root ::= value\n"+Common, rng); !json.Valid(doc) {
			t.Errorf("not JSON: %s", doc)
		}
	}
}

// FuzzGrammar: a schema gives a grammar or an error, and the documents of the grammar are JSON and valid.
func FuzzGrammar(f *testing.F) {
	for _, s := range []string{
		`{"type":"object","properties":{"a":{"type":"integer","minimum":3}},"required":["a"]}`, `{"anyOf":[{"const":1},{"type":"string","pattern":"^a+$"}]}`,
		`{"type":"array","items":{"enum":["x",null]},"maxItems":3}`, `{"$ref":"#/$defs/a","$defs":{"a":{"type":["null","array"],"items":{"$ref":"#"}}}}`,
		`{"oneOf":[{"type":"null"},{"type":"boolean"}]}`, `{"properties":{"é\"":true},"additionalProperties":{"type":"number"}}`,
	} {
		f.Add([]byte(s), uint64(1))
	}
	f.Fuzz(func(t *testing.T, schema []byte, seed uint64) {
		source, err := Grammar(schema)
		if err != nil {
			return
		}
		doc := draw(t, source, rand.New(rand.NewPCG(seed, 1)))
		if !json.Valid(doc) {
			t.Fatalf("not JSON: %s", doc)
		}
	})
}
