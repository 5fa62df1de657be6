// SPDX-License-Identifier: MIT

package repo_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// platforms are those of the Makefile's releases; what we link is the union.
var platforms = []string{"linux/amd64", "linux/arm64", "darwin/arm64", "windows/amd64"}

// TestLinkedModules keeps the list of modules that each program links in testdata/deps.txt, so that a new dependency is a visible diff.
// Most of them are libp2p's. Rewrite the list with -update.
func TestLinkedModules(t *testing.T) {
	t.Parallel()
	linked := map[string]map[string]bool{} // program → modules
	for _, platform := range platforms {
		goos, goarch, _ := strings.Cut(platform, "/")
		raw := goCommand(t, []string{"GOOS=" + goos, "GOARCH=" + goarch, "CGO_ENABLED=0"},
			"list", "-deps", "-json=ImportPath,Name,Deps,Module", "./cmd/...")
		moduleOf := map[string]string{}
		var programs []golist
		for _, p := range decodeAll[golist](t, raw) {
			switch {
			case p.Module == nil: // the standard library
			case !p.Module.Main:
				moduleOf[p.ImportPath] = p.Module.Path
			case p.Name == "main":
				programs = append(programs, p)
			}
		}
		for _, p := range programs {
			name := short(p.ImportPath)
			if linked[name] == nil {
				linked[name] = map[string]bool{}
			}
			for _, dep := range p.Deps {
				if m := moduleOf[dep]; m != "" {
					linked[name][m] = true
				}
			}
		}
	}
	var b strings.Builder
	b.WriteString("# Modules that each program links, on any platform we release for. Rewrite with: go test . -update\n")
	for _, program := range slices.Sorted(maps.Keys(linked)) {
		b.WriteString("\n" + program + "\n")
		for _, m := range slices.Sorted(maps.Keys(linked[program])) {
			b.WriteString("  " + m + "\n")
		}
	}
	path := filepath.Join("testdata", "deps.txt")
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if old := read(t, path); old != b.String() {
		t.Errorf("the programs link other modules than %s says; if that is meant: go test . -update\n%s", path, diff(old, b.String()))
	}
}
