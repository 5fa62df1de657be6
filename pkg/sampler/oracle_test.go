// SPDX-License-Identifier: MIT

package sampler_test

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"
	"testing"

	"github.com/shardnode/shardnode/pkg/protocol"
	"github.com/shardnode/shardnode/pkg/sampler"
)

// allowed is a deliberately dumb second implementation of the filters: sort everything, cut. It returns the tokens a
// draw may give, with a little slack at the cuts, since it computes in float64.
func allowed(logits []float32, p protocol.Sampling) map[protocol.TokenID]bool {
	type tok struct {
		id protocol.TokenID
		x  float64
		w  float64
	}
	var all []tok
	for i, x := range logits {
		if x == x {
			all = append(all, tok{id: protocol.TokenID(i), x: float64(x)})
		}
	}
	slices.SortFunc(all, func(a, b tok) int { return cmp.Or(cmp.Compare(b.x, a.x), cmp.Compare(a.id, b.id)) })
	ok := map[protocol.TokenID]bool{}
	if len(all) == 0 || math.IsInf(all[0].x, -1) {
		return map[protocol.TokenID]bool{0: true}
	}
	if p.Temperature == 0 {
		return map[protocol.TokenID]bool{all[0].id: true}
	}
	if p.TopK > 0 && int(p.TopK) < len(all) {
		all = all[:p.TopK]
	}
	total := 0.0
	for i := range all {
		if all[i].w = math.Exp((all[i].x - all[0].x) / float64(p.Temperature)); all[i].x == all[0].x {
			all[i].w = 1
		}
		total += all[i].w
	}
	cum := 0.0
	for _, c := range all {
		if p.TopP > 0 && p.TopP < 1 && cum > 0 && cum >= float64(p.TopP)*total*(1+1e-4) {
			break
		}
		cum += c.w
		if c.w > 0 && c.w >= float64(p.MinP)*(1-1e-4) {
			ok[c.id] = true
		}
	}
	return ok
}

// FuzzSample feeds any logits and valid parameters: no panic, the same token twice, and one the oracle allows.
func FuzzSample(f *testing.F) {
	row := func(xs ...float32) []byte {
		var b []byte
		for _, x := range xs {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
		}
		return b
	}
	f.Add(row(1, 2, 3), float32(0.8), uint32(2), float32(0.9), float32(0.1), uint64(1), uint32(0))
	f.Add(row(nan, inf, negInf, 3e38, -3e38, 1e-45), float32(1e-3), uint32(0), float32(0.5), float32(0), uint64(2), uint32(9))
	f.Add(row(0, 0, 0, 0), float32(1e30), uint32(0), float32(0), float32(1), uint64(3), uint32(1<<31))
	f.Add(row(), float32(1), uint32(1), float32(1), float32(1), uint64(0), uint32(0))
	f.Fuzz(func(t *testing.T, raw []byte, temperature float32, topK uint32, topP, minP float32, seed uint64, pos uint32) {
		p := protocol.Sampling{Temperature: temperature, TopK: topK, TopP: topP, MinP: minP, Seed: seed}
		logits := make([]float32, min(len(raw)/4, 1<<12))
		for i := range logits {
			logits[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
		}
		s := sampler.New(len(logits))
		got := s.Sample(slices.Clone(logits), nil, pos, p)
		if again := s.Sample(slices.Clone(logits), nil, pos, p); again != got {
			t.Fatalf("token %d, then %d", got, again)
		}
		if sampler.Validate(p) != nil || temperature > 0 && temperature < 1e-6 || len(logits) == 0 {
			return // no panic is all that is promised, or the oracle's slack is too small
		}
		if !allowed(logits, p)[got] {
			t.Fatalf("token %d of %v with %+v is not allowed: %v", got, logits, p, allowed(logits, p))
		}
	})
}
