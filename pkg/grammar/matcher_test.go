// SPDX-License-Identifier: MIT

package grammar

import (
	"errors"
	"strings"
	"testing"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// Control tokens of the test's vocabulary, behind its 256 bytes and a few words.
var testWords = []string{"ab", "abc", "true", "\": ", "{\"", "\"}", "né", "10"}

const (
	tokenStart = 256 + 8 + iota
	tokenEnd
	tokenStop // ends an answer
	testSize
)

// testVocab has a token for each byte, and words.
func testVocab(tb testing.TB) *Vocab {
	tb.Helper()
	v, err := NewVocab(testSize, func(t int) []byte {
		switch {
		case t < 256:
			return []byte{byte(t)}
		case t < tokenStart:
			return []byte(testWords[t-256])
		}
		return nil
	}, func(t int) bool { return t == tokenStop })
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

func compile(tb testing.TB, source string) *Grammar {
	tb.Helper()
	g, err := Compile(source)
	if err != nil {
		tb.Fatal(err)
	}
	return g
}

func matcher(tb testing.TB, source string) *Matcher {
	tb.Helper()
	m, err := NewMatcher(compile(tb, source), testVocab(tb))
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// tokens spells a text in bytes; ‹ and › are the control tokens.
func tokens(text string) []protocol.TokenID {
	var ids []protocol.TokenID
	for _, part := range strings.SplitAfter(text, "") {
		switch part {
		case "‹":
			ids = append(ids, tokenStart)
		case "›":
			ids = append(ids, tokenEnd)
		default:
			for _, b := range []byte(part) {
				ids = append(ids, protocol.TokenID(b))
			}
		}
	}
	return ids
}

// verdict is how a text stands to a grammar: "no", "open" (it can be completed) or "yes" (it may end).
func verdict(tb testing.TB, m *Matcher, text string) string {
	tb.Helper()
	ids := tokens(text)
	for i := range ids {
		allowed, err := m.Allowed(ids[:i])
		if err != nil {
			tb.Fatalf("%q, token %d: %v", text, i, err)
		}
		if !has(allowed, int(ids[i])) {
			return "no"
		}
	}
	allowed, err := m.Allowed(ids)
	if err != nil {
		tb.Fatalf("%q: %v", text, err)
	}
	if has(allowed, tokenStop) {
		return "yes"
	}
	return "open"
}

func TestLanguage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		source         string
		yes, open, not string // texts, split at commas
	}{
		{`root ::= "ab" | "ac"`, "ab,ac", ",a", "b,ad,abc"},
		{`root ::= "a"* "b"+ "c"?`, "b,ab,aabbb,bc", "a", "c,ba,bcc"},
		{`root ::= "a"{2} | "b"{2,} | "c"{1,3} | ("d"{0,2}) "e"`, "aa,bb,bbbb,c,ccc,e,dde", "a,b,d,dd", "aaa,cccc,ddd"},
		{`root ::= [a-c] [^x] "."`, "ab.,bé.,c日.,a\".", "a,a日", "d,ax,."},
		{`root ::= "[" (root ("," root)*)? "]"`, "[],[[]],[[]", "[,[[", "],[[]]]"},
		{`root ::= list
		  list ::= item | item ";" list # calls itself at its end
		  item ::= "x" | "(" list ")"`, "x,x;x;x,(x;x);x", "(,x;,(x", ";,x),()"},
		{`root ::= a b
		  a ::= "1"?
		  b ::= a "2" a`, "2,12,112,121,1121", "1,11", "111,222"},
		{`root ::= ~"</t>" "!"`, "</t>!,a<b</t>!,<</t>!,</</t>!,é</t>!", ",<,</,a</t>", "</t></t>"},
		{`root ::= ~"aab" "!"`, "aab!,aaab!,abaab!", "aa,aaab", "aabb"},
		{`root ::= <[264]> ~<[265]> "x"`, "‹›x,‹abc›x", "‹,‹a", "a,›,‹a‹"},
		{`root ::= "\x22\n\u00e9\U0001f600"`, "\"\né😀", "\"", "é"},
		{`root ::= never | "a" 
		  never ::= "b" never`, "a", "", "b"},
		{`root ::= [\u00e0-\uffff]`, "é,日,퟿,\ufffd", "", "a,ß"},
		{`root ::= x x
		  x ::= "a" | "aa"`, "aa,aaa,aaaa", "a", "aaaaa"},
	} {
		m := matcher(t, c.source)
		check := func(list, want string) {
			for _, text := range strings.Split(list, ",") {
				if got := verdict(t, m, text); got != want && list != "" {
					t.Errorf("%s: %q is %s, want %s", c.source, text, got, want)
				}
			}
		}
		if strings.Contains(c.source, `","`) {
			continue // texts with commas: see TestNested
		}
		check(c.yes, "yes")
		check(c.open, "open")
		check(c.not, "no")
	}
}

func TestNested(t *testing.T) {
	t.Parallel()
	m := matcher(t, `root ::= "[" (root ("," root)*)? "]"`)
	for text, want := range map[string]string{
		"[]": "yes", "[[],[[]]]": "yes", "[": "open", "[[],": "open", "[,": "no", "]": "no", "[]]": "no",
		strings.Repeat("[", 900) + strings.Repeat("]", 900): "yes",
	} {
		if got := verdict(t, m, text); got != want {
			t.Errorf("%.40q is %s, want %s", text, got, want)
		}
	}
	// Too deep is dead, not an error.
	deep := tokens(strings.Repeat("[", maxDepth+10))
	_, err := m.Allowed(deep)
	if err == nil || !strings.Contains(err.Error(), "is not allowed there") {
		t.Errorf("%d deep: %v", len(deep), err)
	}
}

// Lists that call themselves at their end do not nest.
func TestTailCalls(t *testing.T) {
	t.Parallel()
	m := matcher(t, "root ::= list\nlist ::= \"x\" | \"x\" \";\" list")
	if got := verdict(t, m, strings.Repeat("x;", 3*maxDepth)+"x"); got != "yes" {
		t.Errorf("a long list is %s", got)
	}
}

func TestRefuses(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]string{
		"":                               "no rule root",
		"a ::= \"x\"":                    "no rule root",
		"root ::= b":                     "rule b is used but not there",
		"root ::= \"a\"\nroot ::= \"b\"": "line 2: rule root is there twice",
		"root ::= \"a":                   "closing quote",
		"root ::= [a":                    "closing ]",
		"root ::= (\"a\"":                "want )",
		"root ::= \"\\q\"":               `\q is not known`,
		"root ::= \"\\ud800\"":           "hexadecimal digits of a character",
		"root ::= [z-a]":                 "a range from",
		"root ::= \"a\"{3,2}":            "repetition of 3 to 2",
		"root ::= \"a\"{99999}":          "want a number up to",
		"root ::= root \"a\" | \"b\"":    "rule root begins with itself",
		"root ::= e root \"b\" | \"b\"\ne ::= \"\"":   "begins with itself",
		"root ::= \"a\" root":                         "no text can be completed",
		"root ::= []":                                 "no text can be completed",
		"root ::= ((\"abcdefgh\"{8000}){8000}){8000}": "more than",
		"root ::= ((\"\"{8000}){8000}){8000}":         "more than",
		"root ::= \"\xff\"":                           "not UTF-8",
		"root ::= \"a\nb\"":                           "control character",
		"root ::= ~\"\"":                              "want 1 to",
		"root ::= ~x":                                 "behind ~",
		"root ::= <5>":                                "want <[TOKEN]>",
		"root ::= \"a\" )":                            "want NAME ::= EXPRESSION",
		strings.Repeat("(", 70):                       "want NAME",
		"root ::= " + strings.Repeat("(", 70):         "more than 64 parentheses",
		"root ::= \"a\"" + strings.Repeat("*", 70):    "more than 64 repetitions",
		strings.Repeat("#", MaxSource+1):              "at most",
	} {
		if _, err := Compile(source); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v, want %q", source, err, want)
		}
	}
	if _, err := NewMatcher(compile(t, "root ::= <[65]>"), testVocab(t)); err == nil {
		t.Error("a token that is text was taken")
	}
	if _, err := NewMatcher(compile(t, "root ::= <[100000]>"), testVocab(t)); err == nil {
		t.Error("a token outside the vocabulary was taken")
	}
}

// A word may come where its bytes may, also where they cross what the grammar names apart; never beyond the end.
func TestWords(t *testing.T) {
	t.Parallel()
	m := matcher(t, `root ::= "{" "\"" [a-z]+ "\"" ": " ("true" | "1" [0-9])  "}"?`)
	for _, c := range []struct {
		before string
		words  string
	}{
		{"", `{"`}, {`{"`, "ab abc true"}, {`{"x`, "ab abc true \":_"}, {`{"x": `, "true 10"}, {`{"x": true`, ""},
	} {
		allowed, err := m.Allowed(tokens(c.before))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for i, w := range testWords {
			if has(allowed, 256+i) {
				got = append(got, strings.ReplaceAll(w, " ", "_"))
			}
		}
		if strings.Join(got, " ") != c.words {
			t.Errorf("behind %q: words %q, want %q", c.before, got, c.words)
		}
	}
}

// What a matcher has seen before does not matter: it goes on, starts again and forgets, and allows the same.
func TestMatcherIsPure(t *testing.T) {
	t.Parallel()
	source := `root ::= "[" (root ("," root)*)? "]" | "\"" [a-f]{0,40} "\""`
	texts := []string{"[[\"abc\"],", "[[\"abc\"]", "[[", "\"aaaaaaaaaaaa", "[[[[\"a\",\"b\"],", ""}
	used := matcher(t, source)
	for range 3 {
		for _, text := range texts {
			want, err := matcher(t, source).Allowed(tokens(text))
			if err != nil {
				t.Fatal(err)
			}
			got, err := used.Allowed(tokens(text))
			if err != nil || !equalBits(got, want) {
				t.Errorf("%q: another set of a used matcher, %v", text, err)
			}
			used.at, used.masks = used.e.moved(used.at), 0
			if got, err := used.Allowed(tokens(text)); err != nil || !equalBits(got, want) {
				t.Errorf("%q: another set after forgetting, %v", text, err)
			}
		}
	}
}

func equalBits(a, b []uint64) bool {
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return len(a) == len(b)
}

// A grammar that can be read in too many ways ends with an error, soon.
func TestTooMuch(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("root ::= ")
	for i := range 5000 {
		if i > 0 {
			b.WriteString("|")
		}
		b.WriteString("[ab]{9}")
	}
	m := matcher(t, b.String())
	if _, err := m.Allowed(nil); err == nil || !strings.Contains(err.Error(), "too many ways") {
		t.Errorf("%v", err)
	}
}

func FuzzCompile(f *testing.F) {
	for _, s := range []string{
		`root ::= "a" | [b-d]* (x){2,3} ~"yz" <[264]>` + "\nx ::= \"1\"? # one", `root ::= "[" (root ("," root)*)? "]"`,
		`root ::= e root | "b"` + "\ne ::= \"\"", "root ::= [^\\x00-\\U0010ffff]", "root ::= ~<[265]> \"é\"{0,9}",
	} {
		f.Add(s, "[a]‹")
	}
	v := testVocab(f)
	f.Fuzz(func(t *testing.T, source, text string) {
		g, err := Compile(source)
		if err != nil {
			return
		}
		m, err := NewMatcher(g, v)
		if err != nil {
			return
		}
		// Whatever is allowed leads on.
		ids := tokens(text[:min(len(text), 20)])
		for i := range ids {
			allowed, err := m.Allowed(ids[:i])
			if err != nil || !has(allowed, int(ids[i])) {
				return
			}
		}
		for range 50 {
			allowed, err := m.Allowed(ids)
			if err != nil {
				if errors.Is(err, errTooMuch) || errors.Is(err, errNoToken) {
					return
				}
				t.Fatal(err)
			}
			next := -1
			for i := range testSize {
				if has(allowed, i) && (next < 0 || (i*7919+len(ids))%13 == 0) {
					next = i
				}
			}
			if next == tokenStop {
				return
			}
			ids = append(ids, protocol.TokenID(next))
		}
	})
}
