// SPDX-License-Identifier: MIT

//go:build unix

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// moreContext is by how many tokens the long prompts of a cost measurement are longer than the short ones.
const moreContext = 1000

// measureCost kills each hop in turn behind a short and a long prompt, and prints what a recovery takes longer behind the long one, beside
// what the lost range's own prefill of that prompt took longer in an undisturbed run.
func (u *user) measureCost(ctx context.Context, s *swarm, o *options) error {
	var prompts [2][]question
	for i, n := range []int{o.prompt, o.prompt + moreContext} {
		var err error
		if prompts[i], err = u.learn(ctx, 4, n); err != nil {
			return err
		}
	}
	kill := faults(false)[0]
	random := rand.New(rand.NewPCG(o.seed, 0))
	fmt.Printf("a hop is killed behind %d and %d tokens of context, in turn:\n", o.prompt, o.prompt+moreContext)
	for hop := range len(strings.Split(o.layers, ",")) {
		var recovery, prefill [2][]time.Duration
		for range o.cost {
			for i, questions := range prompts {
				q := &questions[random.IntN(len(questions))]
				out, err := u.tryQuestion(ctx, s, trial{kill, hop, "decode", 0}, q)
				if err == nil {
					err = out.err
				}
				if err != nil {
					return err
				}
				recovery[i] = append(recovery[i], out.recovery)
				prefill[i] = append(prefill[i], q.prefill[hop])
			}
		}
		more := median(recovery[1]) - median(recovery[0])
		own := median(prefill[1]) - median(prefill[0])
		fmt.Printf("hop %d: recovery %s and %s: %s more; its own prefill %s and %s: %s more; ratio %.2f\n", hop, ms(median(recovery[0])),
			ms(median(recovery[1])), ms(more), ms(median(prefill[0])), ms(median(prefill[1])), ms(own), more.Seconds()/own.Seconds())
	}
	return nil
}

func median(list []time.Duration) time.Duration {
	list = slices.Sorted(slices.Values(list))
	return list[len(list)/2]
}

func ms(d time.Duration) string { return fmt.Sprintf("%.0f ms", float64(d.Microseconds())/1000) }
