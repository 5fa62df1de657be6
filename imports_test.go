// SPDX-License-Identifier: MIT

package repo_test

import (
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
)

// golist is a package as go list tells of it.
type golist struct {
	ImportPath, Name                         string
	Imports, TestImports, XTestImports, Deps []string
	Module                                   *struct {
		Path string
		Main bool
	}
}

// list returns the module's packages.
func list(t *testing.T) []golist {
	t.Helper()
	return decodeAll[golist](t, goCommand(t, nil, "list", "-json=ImportPath,Name,Imports,TestImports,XTestImports,Deps", "./..."))
}

// short is an import path within the module without the module's.
func short(importPath string) string { return strings.TrimPrefix(importPath, modulePath+"/") }

// rule forbids imports. It mirrors .golangci.yml, which editors show; this one needs no linter, and sees what is imported by way of
// another package too.
type rule struct {
	why    string
	in     []string // packages it holds for, as path.Match patterns; those that begin with ! are exempt
	deny   []string // import paths, with all below them
	tests  bool     // also for the imports of tests
	linked bool     // also for what the imports import
}

var rules = []rule{
	{
		why:   "libp2p is known to p2p, discovery, cmd and what composes them only",
		in:    []string{"*", "*/*", "*/*/*", "!pkg/p2p", "!pkg/discovery", "!cmd/*", "!internal/testnet", "!internal/node", "!internal/client", "!internal/survey", "!internal/statedir", "!internal/doctor"},
		deny:  []string{"github.com/libp2p", "github.com/quic-go", "github.com/multiformats"},
		tests: true,
	},
	{
		why:    "these compute, decide or encode: a network below them would have to be simulated to test them",
		in:     []string{"pkg/protocol", "pkg/placement", "pkg/placement/*", "pkg/sampler", "pkg/gguf", "pkg/tokenizer", "pkg/layers", "pkg/engine", "pkg/pipeline", "internal/quant", "internal/kernel"},
		deny:   []string{"github.com/libp2p", "github.com/quic-go", "github.com/multiformats"},
		linked: true,
	},
	{
		why:  "a pure package does no I/O and does not log",
		in:   []string{"pkg/protocol", "pkg/placement", "pkg/placement/*", "pkg/sampler", "pkg/grammar", "internal/jsonschema", "internal/quant", "internal/kernel"},
		deny: []string{"net", "os/exec", "go.uber.org/zap"},
	},
	{why: "protocol is at the bottom", in: []string{"pkg/protocol"}, deny: []string{modulePath + "/pkg"}},
	{why: "gguf is below layers", in: []string{"pkg/gguf"}, deny: []string{modulePath + "/pkg/layers", modulePath + "/pkg/engine"}, tests: true},
	{why: "p2p meets engine in internal/node, through p2p's interfaces", in: []string{"pkg/p2p"}, deny: []string{modulePath + "/pkg/engine", modulePath + "/pkg/layers"}},
	{why: "p2p is handed to pipeline as a Dialer, and the coordinator has no engine", in: []string{"pkg/pipeline"}, deny: []string{modulePath + "/pkg/p2p", modulePath + "/pkg/engine"}},
	{why: "math/rand/v2 (seeded) and crypto/rand are enough", in: []string{"*", "*/*", "*/*/*"}, deny: []string{"math/rand"}, tests: true},
	{why: "the standard library and go-cmp are enough", in: []string{"*", "*/*", "*/*/*"}, deny: []string{"github.com/stretchr/testify"}, tests: true},
}

func (r *rule) holdsFor(pkg string) bool {
	holds := false
	for _, p := range r.in {
		pattern, exempt := strings.CutPrefix(p, "!")
		if ok, _ := path.Match(pattern, pkg); ok {
			holds = !exempt
		}
	}
	return holds
}

func (r *rule) denies(importPath string) bool {
	if importPath == "math/rand/v2" {
		return false
	}
	return slices.ContainsFunc(r.deny, func(d string) bool { return importPath == d || strings.HasPrefix(importPath, d+"/") })
}

func TestImports(t *testing.T) {
	t.Parallel()
	used := make([]bool, len(rules))
	for _, p := range list(t) {
		for i := range rules {
			r := &rules[i]
			if !r.holdsFor(short(p.ImportPath)) {
				continue
			}
			used[i] = true
			imports := slices.Clone(p.Imports)
			if r.linked {
				imports = append(imports, p.Deps...)
			}
			if r.tests {
				imports = append(append(imports, p.TestImports...), p.XTestImports...)
			}
			slices.Sort(imports)
			for _, imp := range slices.Compact(imports) {
				if r.denies(imp) {
					t.Errorf("%s imports %s: %s", short(p.ImportPath), imp, r.why)
				}
			}
		}
	}
	for i, ok := range used {
		if !ok {
			t.Errorf("no package is under the rule %q: has one been renamed?", rules[i].why)
		}
	}
}

const architecture = "docs/architecture.md"

// TestImportTable keeps the table in docs/architecture.md true: a new edge is a visible diff. Rewrite it with -update.
func TestImportTable(t *testing.T) {
	t.Parallel()
	const begin, end = "```imports\n", "```\n"
	text := read(t, architecture)
	before, rest, ok := strings.Cut(text, begin)
	old, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no block that begins with %q", architecture, begin)
	}
	want := importTable(list(t))
	if *update {
		if err := os.WriteFile(architecture, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if old != want {
		t.Errorf("%s is out of date; if the new imports are meant: go test . -update\n%s", architecture, diff(old, want))
	}
}

// importTable lists each package and what it imports of this module, so that each imports from lines below its own only.
func importTable(all []golist) string {
	imports := map[string][]string{}
	for _, p := range all {
		if name := short(p.ImportPath); name != modulePath {
			imports[name] = []string{}
			for _, imp := range p.Imports {
				if strings.HasPrefix(imp, modulePath+"/") {
					imports[name] = append(imports[name], short(imp))
				}
			}
		}
	}
	heights := map[string]int{}
	var height func(string) int
	height = func(name string) int {
		if h, ok := heights[name]; ok {
			return h
		}
		h := 0
		for _, imp := range imports[name] {
			h = max(h, height(imp)+1)
		}
		heights[name] = h
		return h
	}
	var names []string
	width := 0
	for name := range imports {
		// Tools and packages of tests only are nobody's part.
		if strings.HasPrefix(name, "tools/") || strings.HasPrefix(name, "test/") {
			continue
		}
		names = append(names, name)
		width = max(width, len(name))
	}
	slices.SortFunc(names, func(a, b string) int {
		if d := height(b) - height(a); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	var b strings.Builder
	for _, name := range names {
		line := fmt.Sprintf("%-*s  %s", width, name, strings.Join(imports[name], " "))
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}

// diff lists the lines that one of two texts has and the other has not.
func diff(have, want string) string {
	h, w := strings.Split(have, "\n"), strings.Split(want, "\n")
	var b strings.Builder
	for _, line := range h {
		if !slices.Contains(w, line) {
			b.WriteString("- " + line + "\n")
		}
	}
	for _, line := range w {
		if !slices.Contains(h, line) {
			b.WriteString("+ " + line + "\n")
		}
	}
	return b.String()
}
