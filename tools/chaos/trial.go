// SPDX-License-Identifier: MIT

//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/shardnode/shardnode/internal/client"
	"github.com/shardnode/shardnode/pkg/pipeline"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// trial is one fault during one generation.
type trial struct {
	fault fault
	hop   int
	phase string // when it happens: "prefill" or "decode"
	seed  uint64
}

func (t trial) String() string { return fmt.Sprintf("%s, hop %d, %s:", t.fault.name, t.hop, t.phase) }

// outcome is what became of it.
type outcome struct {
	detected time.Duration // until the coordinator took the node for lost; 0: it never did
	pause    time.Duration // longest time without a step, from the fault on
	recovery time.Duration // from noticing the loss to the next answer, as the coordinator reports it
	err      error         // nil: the same tokens
}

func (o outcome) String() string {
	s := fmt.Sprintf("noticed after %s, pause %s", short(o.detected), short(o.pause))
	if o.err != nil {
		return s + ": " + o.err.Error()
	}
	return s + ", same tokens"
}

func short(d time.Duration) string {
	if d == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}

// decodeSteps is how far into the answer a fault of the decode phase comes.
const decodeSteps = 20

// try runs a generation and hurts a node of its route. The error is of the experiment, not of the generation.
func (u *user) try(ctx context.Context, s *swarm, t trial) (outcome, error) {
	random := rand.New(rand.NewPCG(t.seed, 1))
	return u.tryQuestion(ctx, s, t, &u.questions[random.IntN(len(u.questions))])
}

func (u *user) tryQuestion(ctx context.Context, s *swarm, t trial, q *question) (outcome, error) {
	w := &witness{}
	var victim *node
	var hurt sync.WaitGroup
	var injectErr error
	strike := func() {
		if victim == nil {
			return
		}
		n := victim
		w.begin()
		hurt.Go(func() { injectErr = t.fault.inject(ctx, s, n) })
	}
	steps := 0
	obs := client.Observer{
		Started: func(target *client.Target, _ string, _ []protocol.TokenID) {
			if t.hop < len(target.Hops) {
				victim = s.byPeer(target.Hops[t.hop].Peer)
			}
		},
		Opened: func(*pipeline.Report) {
			if t.phase == "prefill" {
				strike()
			}
		},
		Step: func([]protocol.HopTiming) {
			w.step()
			if steps++; t.phase == "decode" && steps == decodeSteps {
				strike()
			}
		},
	}
	r, err := u.ask(ctx, q, obs)
	hurt.Wait()
	if injectErr != nil {
		return outcome{}, fmt.Errorf("%s %w", t, injectErr)
	}
	if ctx.Err() != nil {
		return outcome{}, ctx.Err()
	}
	if w.struck.IsZero() {
		if err == nil {
			err = errors.New("it ended before the fault")
		}
		return outcome{err: err}, nil
	}
	o := outcome{pause: w.longest, err: err}
	if r != nil && r.Report != nil {
		o.recovery = r.Report.Recovery
	}
	if t.fault.loses {
		o.detected = u.noticed(ctx, victim.peer, w.struck)
	}
	if err := t.fault.repair(ctx, s, victim); err != nil {
		return o, fmt.Errorf("%s %w", t, err)
	}
	return o, nil
}

// noticed returns how long it took to find a peer lost, 0 if it has not been found after some seconds.
func (u *user) noticed(ctx context.Context, peer string, struck time.Time) time.Duration {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if at, ok := u.lostAt(peer, struck); ok {
			return at.Sub(struck)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return 0
		}
	}
}

func (s *swarm) byPeer(peer string) *node {
	i := slices.IndexFunc(s.nodes, func(n *node) bool { return n.peer == peer })
	if i < 0 {
		return nil
	}
	return s.nodes[i]
}

// witness measures the longest pause between steps from the fault on.
type witness struct {
	struck, last time.Time
	longest      time.Duration
}

func (w *witness) begin() {
	w.struck = time.Now()
	w.last = w.struck
}

func (w *witness) step() {
	if w.struck.IsZero() {
		return
	}
	now := time.Now()
	w.longest = max(w.longest, now.Sub(w.last))
	w.last = now
}

// table collects outcomes by fault, hop and phase.
type table struct {
	rows map[string][]outcome
	keys []string
	lost int
}

func newTable() *table { return &table{rows: map[string][]outcome{}} }

func (t *table) add(tr trial, o outcome) {
	for _, key := range []string{fmt.Sprintf("%s\t%d\t%s", tr.fault.name, tr.hop, tr.phase), tr.fault.name + "\tall\tall"} {
		if t.rows[key] == nil {
			t.keys = append(t.keys, key)
		}
		t.rows[key] = append(t.rows[key], o)
	}
	if o.err != nil {
		t.lost++
	}
}

// print writes the table: medians, and the worst in brackets.
func (t *table) print(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "FAULT\tHOP\tPHASE\tTIMES\tNOTICED AFTER\tPAUSE\tSAME TOKENS")
	slices.Sort(t.keys)
	for _, key := range t.keys {
		var detected, pause []time.Duration
		same := 0
		for _, o := range t.rows[key] {
			if o.detected > 0 {
				detected = append(detected, o.detected)
			}
			if o.err == nil {
				same++
				pause = append(pause, o.pause)
			}
		}
		n := len(t.rows[key])
		fmt.Fprintf(tw, "%s\t%d\t%s\t%s\t%d of %d\n", key, n, spread(detected), spread(pause), same, n)
	}
	return tw.Flush()
}

func spread(list []time.Duration) string {
	if len(list) == 0 {
		return "-"
	}
	slices.Sort(list)
	return fmt.Sprintf("%s (%s)", short(list[len(list)/2]), short(list[len(list)-1]))
}
