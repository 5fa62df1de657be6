// SPDX-License-Identifier: MIT

package kernel

import (
	"fmt"
	"os"
	"slices"
)

// path is a set of implementations. All give the same bits.
type path string

const (
	generic path = "generic" // portable Go: the specification
	avx2    path = "avx2"    // with FMA and F16C
	avx512  path = "avx512"  // with VNNI
	amx     path = "amx"     // avx512, and AMX for products of 16 activation rows
)

// active is the path of new pools, chosen when the program starts; generic where errPath says that the environment asks for what there is not.
var active, errPath = choose(os.Getenv("SHARDNODE_CPU"), supported())

// Path names the implementation in use: "generic", "avx2", "avx512" or "amx". It is the best that the processor has, or what the environment
// variable SHARDNODE_CPU asks for.
func Path() string { return string(active) }

// PathError tells programs, before they compute, that SHARDNODE_CPU asks for what this program or processor does not have. A slower path
// taken silently would be worse: [NewPool] panics then.
func PathError() error { return errPath }

// choose returns the wanted path, or the last, the best, of those there are.
func choose(want string, paths []path) (path, error) {
	if want == "" {
		return paths[len(paths)-1], nil
	}
	if !slices.Contains(paths, path(want)) {
		return generic, fmt.Errorf("SHARDNODE_CPU=%s: this program and processor have %v: choose one of these or unset the variable", want, paths)
	}
	return path(want), nil
}
