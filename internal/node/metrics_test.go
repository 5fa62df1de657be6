// SPDX-License-Identifier: MIT

package node

import (
	"testing"
	"time"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// Counting costs the step loop no allocation. Not parallel: it counts the whole process.
func TestCountingAllocatesNothing(t *testing.T) {
	m := newMetrics()
	see := m.observer()
	deliver := m.session(&protocol.Open{Epoch: 1}, func(protocol.Frame) error { return nil })
	timing := &protocol.HopTiming{Rows: 1, Processing: 5_000_000, Queue: 7, Encode: 9}
	frame := &protocol.Step{}
	if n := testing.AllocsPerRun(100, func() {
		see.Pass(4, time.Millisecond)
		see.Step(timing)
		if err := deliver(frame); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("%.0f allocations a step", n)
	}
	if none := (*metrics)(nil).observer(); none.Pass != nil || none.Step != nil {
		t.Error("a node without metrics observes")
	}
}
