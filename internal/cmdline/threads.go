// SPDX-License-Identifier: MIT

package cmdline

import (
	"runtime"

	"github.com/spf13/pflag"
)

// ThreadsVar adds --threads to f: compute threads, by default one for each CPU that the program may use, be it that the machine has no
// more or that a container's limit, rounded up and at least 2, allows no more.
func ThreadsVar(f *pflag.FlagSet, threads *int, usage string) {
	f.IntVar(threads, "threads", runtime.GOMAXPROCS(0), usage)
	f.Lookup("threads").DefValue = "one a CPU"
}

// SpareP sees to it that the runtime has a P more than compute threads: when all Ps compute, a message waits for 30 ms until somebody
// looks whether one came; with a P to spare, 0.2 ms.
func SpareP(threads int) { runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), threads+1)) }
