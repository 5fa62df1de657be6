// SPDX-License-Identifier: MIT

package jsonschema

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/shardnode/shardnode/pkg/grammar"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// words are tokens of several bytes: some cross what a grammar names apart, some are beginnings of each other.
var words = []string{
	`{"`, `":`, `": `, `",`, `", "`, `"}`, `"]`, `[{`, `}]`, `},{`, `true`, `tru`, `false`, `null`, `10`, `12`, `-1`, `0.`, `\u`, `\\`, `\"`, "\n  ", "  ", "éa", "日",
	"a", "ab", "name", `"a"`, `"b":`, `"kind":"x"`, "2024", "-0",
}

// end is the token that ends a document.
const end = 256 + 32 + 1

var vocabulary = sync.OnceValues(func() (*grammar.Vocab, error) {
	return grammar.NewVocab(end+1, func(t int) []byte {
		switch {
		case t < 256:
			return []byte{byte(t)}
		case t < end:
			return []byte(words[t-256])
		}
		return nil
	}, func(t int) bool { return t == end })
})

// draw writes a document of random tokens that a grammar allows. From a number of tokens on it takes what ends soonest.
func draw(tb testing.TB, source string, rng *rand.Rand) []byte {
	tb.Helper()
	g, err := grammar.Compile(source)
	if err != nil {
		tb.Fatalf("%v\n%s", err, source)
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
	var doc []byte
	patience := rng.IntN(60)
	for range 20_000 {
		allowed, err := m.Allowed(ids)
		if err != nil {
			tb.Fatalf("behind %s: %v\n%s", doc, err, source)
		}
		id := choose(allowed, rng, len(ids) > patience)
		if id == end {
			return doc
		}
		ids = append(ids, protocol.TokenID(id))
		if id < 256 {
			doc = append(doc, byte(id))
		} else {
			doc = append(doc, words[id-256]...)
		}
	}
	tb.Fatalf("no end: %.500s\n%s", doc, source)
	return nil
}

// choose picks an allowed token: any, or one that closes something.
func choose(allowed []uint64, rng *rand.Rand, closing bool) int {
	var list []int
	for i, w := range allowed {
		for ; w != 0; w &= w - 1 {
			list = append(list, 64*i+bits.TrailingZeros64(w))
		}
	}
	if closing {
		if slices.Contains(list, end) {
			return end
		}
		for _, b := range `}]"0nzxb` {
			if slices.Contains(list, int(b)) && rng.IntN(8) > 0 {
				return int(b)
			}
		}
	}
	return list[rng.IntN(len(list))]
}

// schemas makes random schemas.
type schemas struct {
	rng  *rand.Rand
	defs int
}

func (g *schemas) pick(list ...any) any { return list[g.rng.IntN(len(list))] }

// schema is random; depth bounds what is within it.
func (g *schemas) schema(depth int) any {
	leaf := depth == 0
	switch n := g.rng.IntN(13); {
	case n == 0:
		return map[string]any{"type": g.pick("boolean", "null", "string", "number", "integer", []any{"string", "null"}, []any{"integer", "boolean"})}
	case n == 1:
		return map[string]any{"enum": []any{g.pick("a", "ab", "é\"\\\n", 1, nil), g.pick(true, -2, "abc", []any{1, "x"}), map[string]any{"a": 1}}}
	case n == 2:
		return map[string]any{"const": g.pick("x", 3, false, nil, 2.5)}
	case n == 3:
		return g.number("integer")
	case n == 4:
		return g.number("number")
	case n == 5:
		return g.text()
	case n == 6 && g.defs > 0:
		return map[string]any{"$ref": fmt.Sprintf("#/$defs/d%d", g.rng.IntN(g.defs))}
	case n == 7 && !leaf:
		return map[string]any{"anyOf": []any{g.schema(depth - 1), g.schema(depth - 1)}, "description": "x"}
	case n == 8 && !leaf:
		return map[string]any{"oneOf": []any{g.kind("x", depth-1), g.kind("y", depth-1), map[string]any{"type": "integer"}}}
	case n <= 10 && !leaf:
		s := map[string]any{"type": "array", "items": g.schema(depth - 1)}
		if least := g.rng.IntN(4); least > 0 {
			s["minItems"] = least - 1
			s["maxItems"] = least - 1 + g.rng.IntN(3)
		}
		return s
	case !leaf:
		return g.object(depth)
	}
	return map[string]any{"type": "string", "maxLength": g.rng.IntN(20)}
}

func (g *schemas) number(t string) any {
	least := g.rng.IntN(3000) - 1500
	s := map[string]any{"type": t}
	if g.rng.IntN(3) > 0 {
		s["minimum"] = least
	}
	if g.rng.IntN(3) > 0 {
		s["maximum"] = least + g.rng.IntN(400)
	}
	if t == "integer" && g.rng.IntN(4) == 0 {
		s = map[string]any{"type": t, "exclusiveMinimum": least, "exclusiveMaximum": least + 2 + g.rng.IntN(30)}
	}
	return s
}

func (g *schemas) text() any {
	switch g.rng.IntN(4) {
	case 0:
		return map[string]any{"type": "string", "format": g.pick("date", "time", "date-time", "uuid", "ipv4")}
	case 1:
		return map[string]any{"type": "string", "pattern": g.pick(`^[a-c]{2,3}$`, `^(a|"b\\|é)+$`, `\d`, `^x|^y`, `^[^a-z"]?$`, `^\S*z$`, `(ab)?$`, `^.$`, `^[\n\t"]{0,2}x`)}
	}
	least := g.rng.IntN(5)
	return map[string]any{"type": "string", "minLength": least, "maxLength": least + g.rng.IntN(5)}
}

// kind is an object that a property tells from others.
func (g *schemas) kind(kind string, depth int) any {
	return map[string]any{
		"type": "object", "properties": map[string]any{"kind": map[string]any{"const": kind}, "a": g.schema(depth)},
		"required": []any{"kind"}, "additionalProperties": false,
	}
}

func (g *schemas) object(depth int) any {
	properties, required := map[string]any{}, []any{}
	for _, name := range []string{"a", "ab", "abc", "name", "q\"\\", "é"} {
		if g.rng.IntN(2) == 0 {
			continue
		}
		properties[name] = g.schema(depth - 1)
		if g.rng.IntN(2) == 0 {
			required = append(required, name)
		}
	}
	s := map[string]any{"type": "object", "properties": properties, "required": required}
	switch g.rng.IntN(4) {
	case 0:
		s["additionalProperties"] = false
	case 1:
		s["additionalProperties"] = g.schema(depth - 1)
	case 2:
		s["additionalProperties"] = true
	}
	return s
}

// TestRandomSchemas draws documents of random tokens: all of them are valid, whatever the schema, and each that was begun comes to an end.
func TestRandomSchemas(t *testing.T) {
	t.Parallel()
	made := 0
	for seed := range uint64(150) {
		rng := rand.New(rand.NewPCG(seed, 77))
		g := &schemas{rng: rng, defs: 2}
		schema := g.object(3).(map[string]any)
		if rng.IntN(4) == 0 {
			schema = map[string]any{"anyOf": []any{g.schema(2), schema}}
		}
		schema["$defs"] = map[string]any{"d0": g.schema(2), "d1": g.object(1)}
		raw, err := json.Marshal(schema)
		if err != nil {
			t.Fatal(err)
		}
		source, err := Grammar(raw)
		if err != nil {
			var bad *Error
			if !errors.As(err, &bad) || !strings.Contains(err.Error(), "no text can be completed") && !strings.Contains(err.Error(), "begins with itself") {
				t.Errorf("%s: %v", raw, err)
			}
			continue // it refers to itself without an end
		}
		made++
		root, err := parsed(raw)
		if err != nil {
			t.Fatal(err)
		}
		for range 4 {
			doc := draw(t, source, rng)
			v, err := parsed(doc)
			if err == nil {
				err = validate(root, root, v)
			}
			if err != nil {
				t.Fatalf("seed %d: %v: %s\n%s", seed, err, doc, raw)
			}
		}
	}
	if made < 80 {
		t.Errorf("only %d schemas were of use", made)
	}
}
