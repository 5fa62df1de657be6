// SPDX-License-Identifier: MIT

package cmdline

import (
	"runtime"
	"testing"

	"github.com/spf13/pflag"
)

// Not parallel: it changes what all share.
func TestThreads(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(3))
	f := pflag.NewFlagSet("test", pflag.ContinueOnError)
	var threads int
	ThreadsVar(f, &threads, "compute threads")
	if threads != 3 {
		t.Errorf("%d threads by default on 3 CPUs", threads)
	}
	for _, c := range []struct{ threads, want int }{{2, 3}, {3, 4}, {1, 4}, {9, 10}} {
		SpareP(c.threads)
		if got := runtime.GOMAXPROCS(0); got != c.want {
			t.Errorf("%d Ps for %d threads, want %d", got, c.threads, c.want)
		}
	}
}
