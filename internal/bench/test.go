// SPDX-License-Identifier: MIT

// Package bench measures how fast a whole model computes on this machine: prefill, decode, decode behind a long context, and decode of
// several sessions together, in the way of llama-bench, which it can run beside itself on the same file. It measures [pkg/layers] alone:
// no engine, no network. The shardnode command calls it. A [Runner] belongs to one goroutine.
package bench

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Test is one thing to measure, in tokens a second.
type Test struct {
	Prompt   int // tokens of a prefill from an empty cache
	Generate int // tokens decoded one by one
	Depth    int // tokens in the cache before, not measured
	Batch    int // sessions decoding together, each from a prompt of BatchPrompt tokens
}

// A batch test has so many tokens of prompt a session and decodes so many.
const (
	BatchPrompt   = 64
	BatchGenerate = 32
)

// DefaultTests is what is measured when nothing is said.
const DefaultTests = "pp512,pp64,tg128,tg128@4096,batch1,batch4,batch8,batch16"

// Bounds of a test: far more than makes sense, small enough for memory.
const (
	maxTokens = 1 << 17
	maxBatch  = 256
)

var testName = regexp.MustCompile(`^(?:(pp|tg)([0-9]{1,6})(?:@([0-9]{1,6}))?|batch([0-9]{1,3}))$`)

// ParseTests reads a list such as [DefaultTests]: ppN is a prefill of N tokens, tgN a decode of N, both @DEPTH behind so many tokens, and
// batchN a decode of N sessions together.
func ParseTests(list string) ([]Test, error) {
	var tests []Test
	for field := range strings.SplitSeq(list, ",") {
		field = strings.TrimSpace(field)
		m := testName.FindStringSubmatch(field)
		if m == nil {
			return nil, fmt.Errorf("test %q: want pp512, tg128, tg128@4096 or batch8", field)
		}
		number := func(i int) int {
			n, _ := strconv.Atoi(m[i]) // digits or nothing
			return n
		}
		t := Test{Depth: number(3), Batch: number(4)}
		switch m[1] {
		case "pp":
			t.Prompt = number(2)
		case "tg":
			t.Generate = number(2)
		}
		if n := t.Prompt + t.Generate + t.Batch; n == 0 || n+t.Depth > maxTokens || t.Batch > maxBatch {
			return nil, fmt.Errorf("test %q: want 1 to %d tokens and at most %d sessions", field, maxTokens, maxBatch)
		}
		tests = append(tests, t)
	}
	return tests, nil
}

// String is the name that [ParseTests] reads.
func (t Test) String() string {
	if t.Batch > 0 {
		return fmt.Sprintf("batch%d", t.Batch)
	}
	name := fmt.Sprintf("pp%d", t.Prompt)
	if t.Generate > 0 {
		name = fmt.Sprintf("tg%d", t.Generate)
	}
	if t.Depth > 0 {
		name += fmt.Sprintf("@%d", t.Depth)
	}
	return name
}

// positions is the context that a session of the test needs.
func (t Test) positions() int {
	if t.Batch > 0 {
		return BatchPrompt + BatchGenerate
	}
	return t.Depth + t.Prompt + t.Generate
}

// DecodesOne reports whether the test reads all weights once a token, so that bytes a second can be told from its tokens a second.
func (t Test) DecodesOne() bool { return t.Generate > 0 || t.Batch == 1 }
