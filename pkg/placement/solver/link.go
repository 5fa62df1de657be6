// SPDX-License-Identifier: MIT

package solver

import "math"

// What a message costs on a QUIC stream, measured on warm connections of 50 ms round trip (docs/placement.md has the comparison):
// it arrives with its last packet. A lost packet is noticed by the packets behind it, one round trip after it was sent; the last packet
// has none behind it and is sent again by the probe timer, later. Each loss also shrinks the congestion window, which grows again by
// about a packet a round trip: a message that does not fit it takes more flights.
const (
	packet       = 1252         // bytes of a message in one packet
	frame        = 96           // bytes around the rows of a message
	token        = 4            // bytes of a row of tokens
	probe        = 0.025        // s: the acknowledgement delay that the probe timer allows for
	windowFactor = 1.22         // packets in the window, times the square root of the loss
	windowLeast  = 2            // packets
	spread       = 1.7320508075 // of an even distribution: half its width, in standard deviations
)

// delivery is the expected time in seconds from sending a message until it is there. back is the link the acknowledgements come by.
func (l *Link) delivery(back *Link, bytes float64) float64 {
	n := math.Ceil(bytes / packet)
	rtt := l.Latency.Seconds() + back.Latency.Seconds()
	t := l.Latency.Seconds() + l.transfer(bytes)
	// The last of n packets is later than the mean one.
	t += float64(spread*l.Jitter.Seconds()) * (n - 1) / (n + 1)
	if l.Loss <= 0 {
		return t
	}
	window := max(windowLeast, windowFactor/math.Sqrt(l.Loss))
	t += rtt * max(0, n/window-1)
	again := 1 / (1 - l.Loss) // what is sent again may be lost again
	var early float64         // chance that a packet before the last is lost
	if n > 1 {
		early = 1 - math.Pow(1-l.Loss, n-1)
	}
	deviation := math.Hypot(l.Jitter.Seconds(), back.Jitter.Seconds())
	timer := rtt + max(4*deviation, 0.001) + probe
	return t + again*(float64(early*rtt)+float64(l.Loss*timer))
}

// transfer is how long a message occupies the link, in seconds.
func (l *Link) transfer(bytes float64) float64 {
	if l.Bandwidth <= 0 {
		return 0
	}
	return bytes / l.Bandwidth
}
