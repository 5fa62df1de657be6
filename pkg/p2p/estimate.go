// SPDX-License-Identifier: MIT

package p2p

import (
	"math"
	"slices"
	"time"

	"github.com/shardnode/shardnode/pkg/protocol"
)

const (
	// tripsKept is how many round trips an estimate rests on: the latest ones, some minutes of them.
	tripsKept = 64
	// packetsKept is how many packets a loss rests on. Beyond it all that was counted counts half.
	packetsKept = 20_000
	// burstsKept is how many bursts a bandwidth rests on: the best of them, since others' traffic takes from each.
	burstsKept = 3
)

// estimate is what is known of the link to one peer, from measurements of a bounded number. It reads no clock and is not safe for
// concurrent use. The zero value knows nothing.
type estimate struct {
	trips  [tripsKept]time.Duration
	nTrips int // seen; the ring's next place is nTrips modulo its size

	sent, lost float64 // packets, old ones in part

	bursts  [burstsKept]float64 // bytes a second
	nBursts int
}

// trip learns a round trip.
func (e *estimate) trip(d time.Duration) {
	e.trips[e.nTrips%tripsKept] = max(d, 0)
	e.nTrips++
}

// packets learns what became of packets. Of those taken for lost some arrive late and are taken back: both numbers may be negative.
func (e *estimate) packets(sent, lost int64) {
	e.sent, e.lost = max(0, e.sent+float64(sent)), max(0, e.lost+float64(lost))
	if e.sent > packetsKept {
		e.sent, e.lost = e.sent/2, e.lost/2
	}
}

// burst learns the rate of one, in bytes a second.
func (e *estimate) burst(rate float64) {
	if rate > 0 && !math.IsInf(rate, 0) {
		e.bursts[e.nBursts%burstsKept] = rate
		e.nBursts++
	}
}

// quartile is how much wider the middle half of the sum of two even distributions is than their standard deviation; of a normal one it
// is 1.35.
const quartile = 1.4

// link is the estimate in the form of the wire. The middle trip stands for all, and the spread of the middle half for the jitter: trips
// with a packet sent again must not count as distance. A trip has the jitter of both directions, taken to be alike.
func (e *estimate) link(peer string) protocol.LinkEstimate {
	l := protocol.LinkEstimate{Peer: peer}
	if n := min(e.nTrips, tripsKept); n > 0 {
		sorted := slices.Sorted(slices.Values(e.trips[:n]))
		l.RTT = delay(at(sorted, 0.5))
		l.Jitter = delay((at(sorted, 0.75) - at(sorted, 0.25)) / (quartile * math.Sqrt2))
	}
	if e.sent > 0 {
		l.Loss = uint32(math.Round(min(1, float64(e.lost/e.sent)) * protocol.MaxLoss))
	}
	l.Bandwidth = uint64(min(slices.Max(e.bursts[:]), protocol.MaxSpeed))
	return l
}

// at returns the value below which a share of sorted lies, in ns.
func at(sorted []time.Duration, share float64) float64 {
	x := share * float64(len(sorted)-1)
	i := int(x)
	v := float64(sorted[i])
	if i+1 < len(sorted) {
		v += (x - float64(i)) * float64(sorted[i+1]-sorted[i])
	}
	return v
}

// delay is a time in ns as the wire allows it.
func delay(ns float64) uint64 { return uint64(min(max(ns, 0), protocol.MaxDelay)) }
