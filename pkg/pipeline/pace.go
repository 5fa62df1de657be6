// SPDX-License-Identifier: MIT

package pipeline

import "time"

// pace knows how long steps took, and tells when one is late.
type pace struct {
	longest time.Duration // of the steps so far, older ones fading; 0: none yet
}

// A step is late when it takes paceFactor times as long as the longest did, and paceSlack more for what comes in between: a
// collection of garbage, a lost packet, another session's prefill chunk.
const (
	paceFactor = 4
	paceSlack  = 250 * time.Millisecond
	paceLeast  = time.Second      // sooner would ask nodes that are only busy
	paceFirst  = 5 * time.Second  // before anything was measured
	paceMost   = 15 * time.Second // later would leave the user in the dark
	paceFading = 16               // a shorter step takes the longest down by this part of the difference
)

// observe takes the time between a step's sending, or the answer before, and its answer.
func (p *pace) observe(took time.Duration) {
	if took >= p.longest {
		p.longest = took
		return
	}
	p.longest -= (p.longest - took) / paceFading
}

// late is how long silence may last before nodes are asked whether they live.
func (p *pace) late() time.Duration {
	if p.longest == 0 {
		return paceFirst
	}
	return min(max(paceFactor*p.longest+paceSlack, paceLeast), paceMost)
}
