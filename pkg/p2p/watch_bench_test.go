// SPDX-License-Identifier: MIT

//go:build unix

package p2p_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// BenchmarkWatched is what signs of life cost the five processes of a route of four hops, all of them together, in percent of one core:
// in a second of an open session that rests, in which every sign is a beat, and in one without a session.
func BenchmarkWatched(b *testing.B) {
	for _, open := range []bool{true, false} {
		name := "session"
		if !open {
			name = "none"
		}
		b.Run(name, func(b *testing.B) {
			r := newRoute(b, 4)
			if open {
				r.mustOpen(b, r.request(protocol.PathDirect))
			}
			time.Sleep(time.Second) // what opening starts is over then
			before, start := cpuTime(b), time.Now()
			for b.Loop() {
				time.Sleep(time.Second)
			}
			b.ReportMetric(100*(cpuTime(b)-before).Seconds()/time.Since(start).Seconds(), "%core")
		})
	}
}

// cpuTime is what this process has computed so far.
func cpuTime(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
