// SPDX-License-Identifier: MIT

package pipeline

import (
	"math"
	"testing"
	"time"

	"github.com/shardnode/shardnode/pkg/protocol"
	"pgregory.net/rapid"
)

// sum is what a step's parts make together.
func (t *StepTrace) sum() time.Duration {
	sum := t.Recovery + t.Coordinator + t.Wire
	for i := range t.Hops {
		sum += t.Hops[i].Sum()
	}
	return sum
}

// Whatever hops say of their time, the parts of a step make its time to the nanosecond, and none is negative.
func TestPartsMakeTheWhole(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		span := func(name string, most time.Duration) time.Duration {
			return time.Duration(rapid.Int64Range(0, int64(most)).Draw(t, name))
		}
		claim := rapid.OneOf(rapid.Uint64Range(0, uint64(20*time.Millisecond)), rapid.Uint64Range(0, uint64(time.Hour)), rapid.Just(uint64(math.MaxUint64)))
		step := &StepTrace{Total: span("total", time.Minute)}
		step.Recovery = span("recovery", step.Total)
		step.Coordinator = span("coordinator", time.Minute) - time.Second // sends may return after the answer came
		hops := make([]protocol.HopTiming, rapid.IntRange(0, 9).Draw(t, "hops"))
		var claimed float64
		for i := range hops {
			hops[i] = protocol.HopTiming{Processing: claim.Draw(t, "compute"), Queue: claim.Draw(t, "queue"), Decode: claim.Draw(t, "decode"), Encode: claim.Draw(t, "encode")}
			claimed += float64(hops[i].Processing) + float64(hops[i].Queue) + float64(hops[i].Decode) + float64(hops[i].Encode)
		}
		step.Hops = make([]HopTrace, len(hops))
		step.divide(hops)
		if step.sum() != step.Total {
			t.Fatalf("the parts make %s of %s: %+v", step.sum(), step.Total, step)
		}
		if step.Wire < 0 || step.Coordinator < 0 {
			t.Fatalf("negative parts: %+v", step)
		}
		for _, h := range step.Hops {
			if min(h.Queue, h.Decode, h.Compute, h.Encode) < 0 {
				t.Fatalf("negative parts: %+v", h)
			}
		}
		rest := step.Total - step.Recovery - step.Coordinator
		if fits := claimed <= float64(rest); fits == step.Scaled && math.Abs(claimed-float64(rest)) > 1 {
			t.Fatalf("claims of %.0f ns in %s, scaled: %t", claimed, rest, step.Scaled)
		}
		if !step.Scaled {
			for i, h := range hops {
				if step.Hops[i].Compute != time.Duration(h.Processing) || step.Hops[i].Queue != time.Duration(h.Queue) {
					t.Fatalf("hop %d: %+v of %+v", i, step.Hops[i], h)
				}
			}
		}
	})
}
