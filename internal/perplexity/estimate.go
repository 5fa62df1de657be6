// SPDX-License-Identifier: MIT

package perplexity

import (
	"fmt"
	"math"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// Estimate gathers what the scored tokens cost. The zero value is ready.
type Estimate struct {
	n            int
	sum, squares float64 // of the negative log likelihoods
}

// Add takes a row of logits and the token that followed.
func (e *Estimate) Add(logits []float32, next protocol.TokenID) error {
	if int64(next) >= int64(len(logits)) {
		return fmt.Errorf("token %d is outside the %d logits", next, len(logits))
	}
	top := float32(math.Inf(-1))
	for _, v := range logits {
		top = max(top, v)
	}
	total := 0.0
	for _, v := range logits {
		total += math.Exp(float64(v) - float64(top))
	}
	cost := float64(top) - float64(logits[next]) + math.Log(total)
	if math.IsNaN(cost) || math.IsInf(cost, 0) {
		return fmt.Errorf("the model gives no finite probability to a token (logit %v, largest %v): its weights are damaged", logits[next], top)
	}
	e.n++
	e.sum += cost
	e.squares += float64(cost * cost)
	return nil
}

// Tokens returns how many tokens were scored.
func (e *Estimate) Tokens() int { return e.n }

// Perplexity returns the exponential of the mean cost, and its standard error (0 below two tokens).
func (e *Estimate) Perplexity() (value, standardError float64) {
	if e.n == 0 {
		return math.NaN(), 0
	}
	mean := e.sum / float64(e.n)
	value = math.Exp(mean)
	if variance := e.squares/float64(e.n) - float64(mean*mean); e.n > 1 && variance > 0 {
		standardError = value * math.Sqrt(variance/float64(e.n-1))
	}
	return value, standardError
}
