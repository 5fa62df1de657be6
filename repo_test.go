// SPDX-License-Identifier: MIT

// Package repo_test holds the repository to its own rules: what every file must begin with, who may import whom, what the programs
// link, and that the documents name what exists. It holds tests only. Each rule says why it is there when it fails.
package repo_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const modulePath = "github.com/shardnode/shardnode"

var update = flag.Bool("update", false, "rewrite testdata/deps.txt and the table of imports in docs/architecture.md")

// files returns the repository's files with one of the endings, but for what git ignores and test data.
func files(t *testing.T, endings ...string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if slices.Contains([]string{".git", "bin", "dist", "testdata"}, d.Name()) {
				return filepath.SkipDir
			}
			return nil
		}
		for _, e := range endings {
			if strings.HasSuffix(path, e) {
				out = append(out, filepath.ToSlash(path))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) == 0 {
		t.Fatalf("no files end in %v", endings)
	}
	return out
}

func read(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// generated reports whether a file says so as its first line, where tools look for it.
func generated(text string) bool { return strings.HasPrefix(text, "// Code generated ") }

// maxLines is where a file holds more than one concept for certain.
const maxLines = 700

func TestFiles(t *testing.T) {
	t.Parallel()
	for _, path := range files(t, ".go") {
		text := read(t, path)
		if !strings.HasPrefix(text, "// SPDX-License-Identifier: MIT\n\n") && !generated(text) {
			t.Errorf("%s does not begin with the licence line and an empty one: people copy files, not repositories", path)
		}
		if n := strings.Count(text, "\n"); n > maxLines && !generated(text) {
			t.Errorf("%s has %d lines, at most %d are allowed: split it by concept", path, n, maxLines)
		}
	}
}

// TestPackageComments: go doc shows one comment a package; a second one is lost or glued to the first.
func TestPackageComments(t *testing.T) {
	t.Parallel()
	type pkg struct{ dir, name string }
	comments := map[pkg][]string{}
	hasCode := map[string]bool{}
	for _, path := range files(t, ".go") {
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		test := strings.HasSuffix(path, "_test.go")
		p := pkg{filepath.Dir(path), f.Name.Name}
		if !test {
			hasCode[p.dir] = true
		}
		if f.Doc != nil {
			comments[p] = append(comments[p], path)
			checkDoc(t, path, f)
		} else if comments[p] == nil {
			comments[p] = []string{}
		}
	}
	for p, where := range comments {
		if strings.HasSuffix(p.name, "_test") && hasCode[p.dir] {
			if len(where) > 0 {
				t.Errorf("package %s in %s has a comment in %v: it belongs to the package that is tested", p.name, p.dir, where)
			}
			continue
		}
		if len(where) != 1 {
			t.Errorf("package %s in %s has %d package comments, in %v: want one", p.name, p.dir, len(where), where)
		}
	}
}

func checkDoc(t *testing.T, path string, f *ast.File) {
	t.Helper()
	want := "Package " + f.Name.Name + " "
	if f.Name.Name == "main" {
		want = "Command " + strings.TrimPrefix(filepath.Base(filepath.Dir(path)), "_") + " "
	}
	if !strings.HasPrefix(f.Doc.Text(), want) {
		t.Errorf("%s: the package comment begins %.40q, want %q: go doc's lists show its first words", path, f.Doc.Text(), want)
	}
}

// TestForbiddenWords: what is to do belongs into issues; a path of somebody's machine means nothing on another.
func TestForbiddenWords(t *testing.T) {
	t.Parallel()
	words := []string{"TO" + "DO", "FIX" + "ME", "XX" + "X:", "/wo" + "rk/", "/home" + "/"}
	for _, path := range files(t, ".go", ".md", ".sh", ".py", ".yml", ".s", "Makefile", "go.mod", "Dockerfile", ".service", ".conf", "run") {
		for i, line := range strings.Split(read(t, path), "\n") {
			for _, w := range words {
				if strings.Contains(line, w) {
					t.Errorf("%s:%d: %q: it belongs into an issue, or to one machine", path, i+1, w)
				}
			}
		}
	}
}

func TestGoMod(t *testing.T) {
	t.Parallel()
	var mod struct {
		Module  struct{ Path string }
		Require []struct{ Path, Version string }
		Replace []struct{ Old struct{ Path string } }
		Exclude []struct{ Path string }
	}
	if err := json.Unmarshal(goCommand(t, nil, "mod", "edit", "-json"), &mod); err != nil {
		t.Fatal(err)
	}
	if mod.Module.Path != modulePath {
		t.Errorf("the module is %s, want %s", mod.Module.Path, modulePath)
	}
	for _, r := range mod.Replace {
		t.Errorf("%s is replaced: go install %s/cmd/...@latest would not work", r.Old.Path, modulePath)
	}
	for _, e := range mod.Exclude {
		t.Errorf("%s is excluded: it has no effect for those who import this module", e.Path)
	}
	pins := map[string]string{
		// Later versions change what webtransport-go builds upon, which libp2p compiles in whether it is used or not.
		"github.com/quic-go/quic-go": "v0.64.1",
	}
	for _, r := range mod.Require {
		if want, ok := pins[r.Path]; ok {
			delete(pins, r.Path)
			if r.Version != want {
				t.Errorf("%s is at %s, it must stay at %s (docs/development.md, \"Pins\")", r.Path, r.Version, want)
			}
		}
	}
	for path := range pins {
		t.Errorf("%s is not in go.mod", path)
	}
}

// goCommand runs the go tool with variables added to the environment.
func goCommand(t *testing.T, env []string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Env = append(os.Environ(), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, &stderr)
	}
	return out
}

// decodeAll decodes a stream of JSON values, as go list prints them.
func decodeAll[T any](t *testing.T, raw []byte) []T {
	t.Helper()
	var all []T
	for d := json.NewDecoder(bytes.NewReader(raw)); ; {
		var v T
		if err := d.Decode(&v); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
	}
}
