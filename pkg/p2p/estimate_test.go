// SPDX-License-Identifier: MIT

package p2p

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// What was put into a link comes out of its estimate: also where some trips took a retransmission.
func TestEstimateFindsTheLink(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	const oneWay, jitter = 40 * time.Millisecond, 10 * time.Millisecond
	var e estimate
	draw := func() time.Duration { return oneWay + time.Duration((2*r.Float64()-1)*math.Sqrt(3)*float64(jitter)) }
	for range 200 {
		trip := draw() + draw()
		if r.IntN(12) == 0 {
			trip += 150 * time.Millisecond
		}
		e.trip(trip)
		e.packets(100, int64(r.IntN(5))) // 2 %
	}
	for _, rate := range []float64{3e6, 12e6, 9e6} {
		e.burst(rate)
	}
	l := e.link("p")
	if rtt := time.Duration(l.RTT); (rtt - 2*oneWay).Abs() > 8*time.Millisecond {
		t.Errorf("RTT %s, want %s", rtt, 2*oneWay)
	}
	if j := time.Duration(l.Jitter); (j - jitter).Abs() > 3*time.Millisecond {
		t.Errorf("jitter %s, want %s", j, jitter)
	}
	if l.Loss < 15_000 || l.Loss > 25_000 {
		t.Errorf("loss %d of a million, want 20000", l.Loss)
	}
	if l.Bandwidth != 12e6 {
		t.Errorf("bandwidth %d, want the best of the last bursts", l.Bandwidth)
	}
}

// Whatever is learnt, the estimate can be sent: within the wire's limits.
func TestEstimateIsBounded(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var e estimate
		for range rapid.IntRange(0, 50).Draw(t, "measurements") {
			e.trip(time.Duration(rapid.Int64().Draw(t, "trip")))
			e.packets(rapid.Int64().Draw(t, "sent"), rapid.Int64().Draw(t, "lost"))
			e.burst(rapid.Float64().Draw(t, "rate"))
		}
		f := &protocol.Links{Links: []protocol.LinkEstimate{e.link("p")}}
		if _, err := protocol.AppendBody(nil, f); err != nil {
			t.Fatalf("%+v: %v", f.Links[0], err)
		}
	})
}
