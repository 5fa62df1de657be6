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

// SpareP sees to it that the runtime has a P more than compute threads. Threads that compute never ask whether a message came: where all
// Ps compute, only the runtime's monitor looks, every 10 ms, and what it finds waits again at each goroutine the message passes, some
// 30 ms in all. An idle P's thread sleeps in the poller and is woken by the message: 0.2 ms. It never takes Ps away: those there are more
// of cost nothing while they have nothing to do.
func SpareP(threads int) { runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), threads+1)) }
