// SPDX-License-Identifier: MIT

package sampler_test

import (
	"math"
	"strings"
	"testing"

	"github.com/shardnode/shardnode/pkg/protocol"
	"github.com/shardnode/shardnode/pkg/sampler"
)

func TestValidate(t *testing.T) {
	t.Parallel()
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, c := range []struct {
		name string
		p    protocol.Sampling
		want []string // parts of the error; none: valid
	}{
		{"greedy", protocol.Sampling{}, nil},
		{"usual", protocol.Sampling{Temperature: 0.8, TopK: 40, TopP: 0.95, MinP: 0.05, RepeatPenalty: 1.1, RepeatLastN: 64, Seed: 1}, nil},
		{"bounds", protocol.Sampling{Temperature: 100, TopP: 1, MinP: 1, RepeatPenalty: 1}, nil},
		{"negative temperature", protocol.Sampling{Temperature: -1}, []string{"temperature -1"}},
		{"infinite temperature", protocol.Sampling{Temperature: inf}, []string{"temperature +Inf"}},
		{"NaN everywhere", protocol.Sampling{Temperature: nan, TopP: nan, MinP: nan, RepeatPenalty: nan}, []string{"temperature NaN", "top-p NaN", "min-p NaN", "repeat penalty NaN"}},
		{"percent", protocol.Sampling{TopP: 95}, []string{"top-p 95: want a probability from 0 to 1"}},
		{"min-p", protocol.Sampling{MinP: -0.1}, []string{"min-p -0.1"}},
		{"penalty", protocol.Sampling{RepeatPenalty: -2}, []string{"repeat penalty -2"}},
	} {
		err := sampler.Validate(c.p)
		if (err == nil) != (len(c.want) == 0) {
			t.Errorf("%s: error %v", c.name, err)
		}
		for _, w := range c.want {
			if err != nil && !strings.Contains(err.Error(), w) {
				t.Errorf("%s: error %q lacks %q", c.name, err, w)
			}
		}
	}
}
