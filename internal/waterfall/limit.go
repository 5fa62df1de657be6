// SPDX-License-Identifier: MIT

package waterfall

import "fmt"

// limit finds the part that takes most of a decode step. What a hop does is one part, the ways together are one: a step takes all of them, and
// none can be made shorter alone.
func limit(d *Document) *Limit {
	s := &d.Decode
	if s.Steps == 0 || s.TotalMS <= 0 {
		return nil
	}
	last := &d.Routes[len(d.Routes)-1]
	best := &Limit{Hop: -1}
	most := 0.0
	consider := func(part string, hop int, took float64, advice string) {
		if took > most {
			most = took
			best = &Limit{Part: part, Hop: hop, Advice: advice}
		}
	}
	consider("wire", -1, s.WireMS, fmt.Sprintf("the ways between %d machines, and waiting for their processors to send and receive: fewer hops, nodes nearer to each other, or less work beside them", len(last.Hops)+1))
	consider("coordinator", -1, s.CoordinatorMS, "this coordinator between a token and the next step: is its machine busy, or its output slow?")
	consider("recovery", -1, s.RecoveryMS, "routes that were lost: see --verbose for who and why")
	for i, h := range last.Decode.Hops {
		who := "layers " + last.Hops[i].Layers
		consider("compute", i, h.ComputeMS, "computing "+who+": fewer layers there, or a faster machine (coordinator plan --from-swarm)")
		consider("queue", i, h.QueueMS, who+" wait for others' steps: a second node for them, or fewer sessions there")
		consider("encode", i, h.DecodeMS+h.EncodeMS, "hidden states into bytes and back at "+who+": is its processor busy?")
	}
	if best.Hop >= 0 {
		best.Layers, best.Peer = last.Hops[best.Hop].Layers, last.Hops[best.Hop].Peer
	}
	best.Share = round(min(1, most/s.TotalMS), 3)
	best.Rate = round(1000*float64(s.Steps)/s.TotalMS, 2)
	if rest := s.TotalMS - most; rest > 0 {
		best.Without = round(1000*float64(s.Steps)/rest, 2)
	}
	return best
}
