// SPDX-License-Identifier: MIT

package tokenizer

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nikolalohinski/gonja/v2/builtins"
	"github.com/nikolalohinski/gonja/v2/exec"
)

// stringMethods are the library's, with those replaced that it gets wrong: lstrip, rstrip, split and rsplit fail
// without arguments, split and rsplit split once too few, replace wants a count, count counts the wrong string.
func stringMethods() *exec.MethodSet[string] {
	set := map[string]exec.Method[string]{
		"strip":  stripMethod("strip", strings.TrimSpace, strings.Trim),
		"lstrip": stripMethod("lstrip", trimLeftSpace, strings.TrimLeft),
		"rstrip": stripMethod("rstrip", trimRightSpace, strings.TrimRight),
		"split":  splitMethod("split", false), "rsplit": splitMethod("rsplit", true),
		"replace": replaceMethod,
		"count":   countMethod,
	}
	for _, name := range []string{
		"capitalize", "endswith", "find", "format", "isalnum", "isalpha", "isdigit", "islower", "isspace", "isupper", "join",
		"lower", "partition", "removeprefix", "removesuffix", "rfind", "rpartition", "splitlines", "startswith", "swapcase",
		"title", "upper",
	} {
		if m, ok := builtins.Methods.Str.Get(name); ok {
			set[name] = m
		}
	}
	return exec.NewMethodSet(set)
}

// argument returns an argument given by position or by name, nil if it is neither.
func argument(args *exec.VarArgs, i int, name string) *exec.Value {
	if i < len(args.Args) {
		return args.Args[i]
	}
	return args.GetKeywordArgument(name, nil)
}

func trimLeftSpace(s string) string  { return strings.TrimLeft(s, " \t\n\r\v\f") }
func trimRightSpace(s string) string { return strings.TrimRight(s, " \t\n\r\v\f") }

// stripMethod is s.strip([characters]) and its like.
func stripMethod(name string, space func(string) string, trim func(s, cutset string) string) exec.Method[string] {
	return func(s string, _ *exec.Value, args *exec.VarArgs) (any, error) {
		cutset := argument(args, 0, "chars")
		switch {
		case cutset.IsNil():
			return space(s), nil
		case !cutset.IsString():
			return nil, fmt.Errorf("%s takes a string", name)
		}
		return trim(s, cutset.String()), nil
	}
}

// splitMethod is s.split([separator[, maxsplit]]); fromEnd makes it rsplit.
func splitMethod(name string, fromEnd bool) exec.Method[string] {
	return func(s string, _ *exec.Value, args *exec.VarArgs) (any, error) {
		sep, limit := argument(args, 0, "sep"), argument(args, 1, "maxsplit")
		n := -1
		if !limit.IsNil() {
			n = limit.Integer()
		}
		if sep.IsNil() {
			if n >= 0 {
				return nil, fmt.Errorf("%s with maxsplit needs a separator", name)
			}
			return strings.Fields(s), nil
		}
		if !sep.IsString() || sep.String() == "" {
			return nil, fmt.Errorf("%s needs a separator that is not empty", name)
		}
		parts := strings.Split(s, sep.String())
		if n < 0 || len(parts) <= n+1 {
			return parts, nil
		}
		if fromEnd {
			k := len(parts) - n
			return slices.Insert(parts[k:], 0, strings.Join(parts[:k], sep.String())), nil
		}
		return append(parts[:n:n], strings.Join(parts[n:], sep.String())), nil
	}
}

// replaceMethod is s.replace(old, new[, count]).
func replaceMethod(s string, _ *exec.Value, args *exec.VarArgs) (any, error) {
	before, after, count := argument(args, 0, "old"), argument(args, 1, "new"), argument(args, 2, "count")
	if !before.IsString() || !after.IsString() {
		return nil, fmt.Errorf("replace takes two strings")
	}
	n := -1
	if !count.IsNil() {
		n = count.Integer()
	}
	return strings.Replace(s, before.String(), after.String(), n), nil
}

// countMethod is s.count(part).
func countMethod(s string, _ *exec.Value, args *exec.VarArgs) (any, error) {
	part := argument(args, 0, "sub")
	if !part.IsString() {
		return nil, fmt.Errorf("count takes a string")
	}
	return strings.Count(s, part.String()), nil
}
