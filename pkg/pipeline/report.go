// SPDX-License-Identifier: MIT

package pipeline

import (
	"time"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// ShardProgress is what one hop has done for the generation so far, not counting rows fed again.
type ShardProgress struct {
	Hop     protocol.Hop
	Prefill time.Duration // processing of prompt rows
	Decode  time.Duration // processing of decode rows
	Queue   time.Duration // waiting at the hop for the step loop
	Rows    int
}

// Report sums a generation up. Processing is first to last kernel of a step at a hop, nothing else. Overhead is the time of the
// decode steps, token to token on the coordinator's clock, less the hops' processing in them. Prefill is apart.
type Report struct {
	Shards           []ShardProgress // of the route at the end; what hops did that were lost on the way is in the sums only
	PromptTokens     int
	CachedTokens     int // of the prompt, that no hop had to compute: all had their rows of an earlier session
	Tokens           int
	Reason           FinishReason
	Open             time.Duration // start until every hop has reserved the session
	TimeToFirstToken time.Duration // start until the first token, opening included
	Total            time.Duration // start until the last token
	Prefill          time.Duration // the hops' processing of prompt rows
	Decode           time.Duration // first to last token
	Processing       time.Duration // the hops' processing of decode rows
	Overhead         time.Duration // Decode - Processing
	DecodeSteps      int
	Recoveries       []*Recovery
	Recovery         time.Duration // from noticing each loss to the next answer, summed; part of the durations above
}

// OverheadPerToken is the overhead of one decode step; 0 when there was none.
func (r *Report) OverheadPerToken() time.Duration {
	if r.DecodeSteps == 0 {
		return 0
	}
	return r.Overhead / time.Duration(r.DecodeSteps)
}

// TokensPerSecond is the decode rate; with a single token, the rate over the whole request.
func (r *Report) TokensPerSecond() float64 {
	switch {
	case r.DecodeSteps > 0 && r.Decode > 0:
		return float64(r.DecodeSteps) / r.Decode.Seconds()
	case r.Tokens > 0 && r.Total > 0:
		return float64(r.Tokens) / r.Total.Seconds()
	}
	return 0
}

// Report returns the sums so far.
func (s *PipelineState) Report() *Report {
	r := &Report{
		Shards: s.shards, PromptTokens: len(s.req.Tokens), CachedTokens: s.cached, Tokens: len(s.Generated()), Reason: s.reason,
		Decode: s.decodeTime, Processing: s.decodeProc, Overhead: s.decodeTime - s.decodeProc,
		Prefill: s.prefillProc, DecodeSteps: s.decodeSteps, Recoveries: s.recovered,
	}
	if !s.opensDone.IsZero() {
		r.Open = s.opensDone.Sub(s.started)
	}
	if !s.firstToken.IsZero() {
		r.TimeToFirstToken = s.firstToken.Sub(s.started)
		r.Total = s.lastToken.Sub(s.started)
	}
	for _, recovery := range s.recovered {
		r.Recovery += recovery.Took
	}
	return r
}
