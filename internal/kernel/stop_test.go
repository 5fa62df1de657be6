// SPDX-License-Identifier: MIT

package kernel

import (
	"errors"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"go/types"
	"slices"
	"strings"
	"testing"
)

// forTests are routines that only benchmarks call.
var forTests = []string{"peakAVX512"}

// mayRepeat are wrappers that call assembly in a loop, with what bounds it.
var mayRepeat = map[string]string{
	"mixUnits": "at most three times, of up to span positions each",
}

// TestCallsCanBeStopped: assembly is called from functions marked //go:noinline only, and not in a loop there. The runtime stops a thread
// at a function's start or within compiled code: a loop that does nothing but call assembly would be in neither for as long as it lasts.
func TestCallsCanBeStopped(t *testing.T) {
	t.Parallel()
	p := parsePackage(t)
	reached := make(map[*types.Func]bool)
	ast.PreorderStack(p.file, nil, func(n ast.Node, stack []ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		called := p.assemblyOf(call)
		if len(called) == 0 {
			return true
		}
		for _, f := range called {
			reached[f] = true
		}
		where, by := p.fset.Position(call.Pos()), enclosing(stack)
		switch {
		case by == nil:
			t.Errorf("%s: assembly is called in a function literal: call a wrapper marked //go:noinline", where)
		case !noinline(by):
			t.Errorf("%s: assembly is called in %s, which is not marked //go:noinline", where, by.Name.Name)
		case inLoop(stack) && mayRepeat[by.Name.Name] == "":
			t.Errorf("%s: assembly is called in a loop: nothing can stop it between two calls", where)
		}
		return true
	})
	for _, f := range p.assembly {
		if !reached[f] && !slices.Contains(forTests, f.Name()) {
			t.Errorf("%s: no call of it was found: remove it, or see why this test does not", f.Name())
		}
	}
}

// parsed is this package for amd64, the platform with most assembly, wherever the test runs.
type parsed struct {
	fset     *token.FileSet
	file     *ast.File // all files in one
	info     types.Info
	assembly []*types.Func // declared without a body
}

func parsePackage(t *testing.T) *parsed {
	t.Helper()
	platform := build.Default
	platform.GOOS, platform.GOARCH, platform.BuildTags = "linux", "amd64", nil
	dir, err := platform.ImportDir(".", 0)
	if err != nil {
		t.Fatal(err)
	}
	p := &parsed{fset: token.NewFileSet(), file: &ast.File{Name: ast.NewIdent(dir.Name)}}
	p.info = types.Info{Types: make(map[ast.Expr]types.TypeAndValue), Defs: make(map[*ast.Ident]types.Object), Uses: make(map[*ast.Ident]types.Object)}
	var files []*ast.File
	for _, name := range dir.GoFiles {
		f, err := parser.ParseFile(p.fset, name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
		p.file.Decls = append(p.file.Decls, f.Decls...)
	}
	// Other packages stay unknown, and with them what is of their types. The types of routines are all our own.
	check := types.Config{Importer: noImports{}, Error: func(error) {}}
	_, _ = check.Check(dir.Name, p.fset, files, &p.info)
	for _, d := range p.file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Body == nil {
			p.assembly = append(p.assembly, p.info.Defs[f.Name].(*types.Func))
		}
	}
	if len(p.assembly) < 100 {
		t.Fatalf("%d functions in assembly: are these the right files?", len(p.assembly))
	}
	return p
}

type noImports struct{}

func (noImports) Import(string) (*types.Package, error) { return nil, errors.New("not needed") }

// assemblyOf returns the assembly functions that a call may be of: the one named, or all of the type where a variable or a field is called.
func (p *parsed) assemblyOf(call *ast.CallExpr) (of []*types.Func) {
	var name *ast.Ident
	switch f := ast.Unparen(call.Fun).(type) {
	case *ast.Ident:
		name = f
	case *ast.SelectorExpr:
		name = f.Sel
	}
	if f, ok := p.info.Uses[name].(*types.Func); ok {
		if slices.Contains(p.assembly, f) {
			of = append(of, f)
		}
		return of
	}
	value := p.info.Types[call.Fun]
	if !value.IsValue() || value.Type == nil {
		return nil // a conversion, or of another package
	}
	for _, f := range p.assembly {
		if types.Identical(value.Type.Underlying(), f.Signature()) {
			of = append(of, f)
		}
	}
	return of
}

// enclosing returns the innermost function around a node, nil if it is a literal.
func enclosing(stack []ast.Node) *ast.FuncDecl {
	for _, n := range slices.Backward(stack) {
		switch n := n.(type) {
		case *ast.FuncDecl:
			return n
		case *ast.FuncLit:
			return nil
		}
	}
	return nil
}

func noinline(f *ast.FuncDecl) bool {
	return f.Doc != nil && slices.ContainsFunc(f.Doc.List, func(c *ast.Comment) bool { return strings.TrimSpace(c.Text) == "//go:noinline" })
}

func inLoop(stack []ast.Node) bool {
	return slices.ContainsFunc(stack, func(n ast.Node) bool {
		switch n.(type) {
		case *ast.ForStmt, *ast.RangeStmt:
			return true
		}
		return false
	})
}
