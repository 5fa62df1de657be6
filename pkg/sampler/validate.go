// SPDX-License-Identifier: MIT

package sampler

import (
	"errors"
	"fmt"
	"math"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// Validate reports every parameter out of range, joined. The zero value is valid: greedy decoding.
func Validate(p protocol.Sampling) error {
	var errs []error
	check := func(ok bool, name string, v float32, want string) {
		if !ok {
			errs = append(errs, fmt.Errorf("%s %g: want %s", name, v, want))
		}
	}
	finite := func(v float32) bool { return !math.IsInf(float64(v), 0) && v == v }
	check(finite(p.Temperature) && p.Temperature >= 0, "temperature", p.Temperature, "0 (greedy) or a positive number such as 0.8")
	check(p.TopP >= 0 && p.TopP <= 1, "top-p", p.TopP, "a probability from 0 to 1 (0 or 1: all tokens)")
	check(p.MinP >= 0 && p.MinP <= 1, "min-p", p.MinP, "a probability from 0 to 1 (0: off)")
	check(finite(p.RepeatPenalty) && p.RepeatPenalty >= 0, "repeat penalty", p.RepeatPenalty, "a positive number such as 1.1 (0 or 1: off)")
	for _, v := range []struct {
		name  string
		value float32
	}{{"presence penalty", p.PresencePenalty}, {"frequency penalty", p.FrequencyPenalty}} {
		check(finite(v.value), v.name, v.value, "a number such as 0.5 (0: off)")
	}
	for _, b := range p.Bias {
		check(finite(b.Value), fmt.Sprintf("bias of token %d:", b.Token), b.Value, "a number such as -100")
	}
	return errors.Join(errs...)
}
