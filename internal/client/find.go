// SPDX-License-Identifier: MIT

package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/shardnode/shardnode/pkg/discovery"
	"github.com/shardnode/shardnode/pkg/placement"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// Selector says which model and which arithmetic a route must have.
type Selector struct {
	Model string         // name or ID prefix; "": the only complete one
	KV    protocol.DType // of the KV cache; 0: what the nodes have, f16 first
	Wire  protocol.DType // 0: f32
	Ends  *Ends          // of the model, which Model must name by its ID, on this machine: nodes get hidden states only; nil: they get tokens
}

// Target is a model with a route through it.
type Target struct {
	Model    protocol.ModelID
	Name     string
	NLayers  int
	Context  int // positions that every hop allows
	Hops     []protocol.Hop
	Numerics string
	Wire     protocol.DType
	Ends     *Ends // as in the selector
}

// Find waits until the swarm serves all layers of a model that s allows, and returns a route. While it waits it calls looking, from another
// goroutine, with what is missing, each time that changes. The error says what is missing and what to do.
func (c *Client) Find(ctx context.Context, s Selector, looking func(string)) (*Target, error) {
	if s.Wire == 0 {
		s.Wire = protocol.F32
	}
	var target *Target
	var last error
	var err error
	for {
		err = c.finder.Wait(ctx, func(d *discovery.Directory) bool {
			target, last = choose(d, s, c.judge)
			if last != nil && looking != nil && ctx.Err() == nil {
				looking(last.Error())
			}
			var final *ambiguousError
			return last == nil || errors.As(last, &final)
		})
		if err != nil || c.settled.Swap(true) {
			break
		}
		c.settle(ctx, findQuiet)
	}
	switch {
	case target != nil && last == nil:
		return target, nil
	case errors.Is(context.Cause(ctx), context.Canceled):
		return nil, context.Cause(ctx)
	case last != nil:
		return nil, fmt.Errorf("%w%s", last, c.unreachable())
	}
	return nil, err
}

// A cold client goes on listening for a moment when it could go: of two models, or of two replicas, the one whose answer
// happens to come first must not decide.
const (
	findQuiet  = 50 * time.Millisecond  // without news, before the first route
	lookQuiet  = 250 * time.Millisecond // and before a list of the swarm, which is to be whole
	settleMost = time.Second
)

// settle waits until the directory has not changed for a while.
func (c *Client) settle(ctx context.Context, quiet time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, settleMost)
	defer cancel()
	timer := time.AfterFunc(quiet, cancel)
	defer timer.Stop()
	_ = c.finder.Wait(ctx, func(*discovery.Directory) bool {
		timer.Reset(quiet)
		return false
	})
}

// unreachable tells of peers that were found but did not answer.
func (c *Client) unreachable() string {
	var b strings.Builder
	for _, f := range c.finder.Directory().Failures() {
		fmt.Fprintf(&b, "\npeer %s: %v", f.Peer, f.Err)
	}
	return b.String()
}

// ambiguousError says that waiting longer will not help: the user has to choose.
type ambiguousError struct{ models []discovery.Model }

func (e *ambiguousError) Error() string {
	var names []string
	for _, m := range e.models {
		names = append(names, fmt.Sprintf("%s (%s)", m.Name, m.ID.Short()))
	}
	return "the swarm serves several models: " + strings.Join(names, ", ") + "; choose one by name or ID with --model"
}

// choose returns a route through a model that s allows. judge sets the standing of candidates.
func choose(d *discovery.Directory, s Selector, judge func([]placement.Candidate)) (*Target, error) {
	models := d.Models()
	if s.Model != "" {
		models = slices.DeleteFunc(models, func(m discovery.Model) bool {
			return m.Name != s.Model && !strings.HasPrefix(m.ID.String(), strings.ToLower(s.Model))
		})
	}
	var complete []*Target
	var completeModels []discovery.Model
	var missing error
	for _, m := range models {
		t, err := route(d, m, s, judge)
		if err != nil {
			missing = errors.Join(missing, fmt.Errorf("%s (%s): %w", m.Name, m.ID.Short(), err))
			continue
		}
		complete = append(complete, t)
		completeModels = append(completeModels, m)
	}
	switch {
	case len(complete) > 1:
		return nil, &ambiguousError{completeModels}
	case len(complete) == 1:
		return complete[0], nil
	case missing != nil:
		return nil, missing
	case s.Model != "":
		return nil, fmt.Errorf("nobody found that serves a model %q; `coordinator swarm` lists what there is", s.Model)
	}
	return nil, errors.New("no shard nodes found; start one with: shardnode --layers 0-7, or name one with --bootstrap")
}

// route tries the numerics that the model's nodes offer, in order.
func route(d *discovery.Directory, m discovery.Model, s Selector, judge func([]placement.Candidate)) (*Target, error) {
	var first error
	for _, numerics := range offered(d, m.ID, s) {
		cands := d.Candidates(m.ID, numerics)
		judge(cands)
		hops, err := placement.Route(cands, m.NLayers, placement.Options{})
		if err != nil {
			if first == nil {
				first = err
			}
			continue
		}
		t := &Target{Model: m.ID, Name: m.Name, NLayers: m.NLayers, Hops: hops, Numerics: numerics, Wire: s.Wire, Ends: s.Ends, Context: protocol.MaxPositions}
		for _, h := range hops {
			if n := d.Node(h.Peer); n != nil {
				t.Context = min(t.Context, int(n.Status.Context))
			}
		}
		return t, nil
	}
	if ids := offered(d, m.ID, s); len(ids) > 1 && len(placement.Missing(d.Candidates(m.ID, ""), m.NLayers)) == 0 {
		first = fmt.Errorf("all layers are served, but not all with the same numerics (%s): start every node with the same --kv", strings.Join(ids, ", "))
	}
	if s.Ends != nil && len(placement.Missing(d.Candidates(m.ID, ""), m.NLayers)) == 0 {
		first = errors.New("all layers are served, but not all by nodes that leave embedding and head to the coordinator: update them, or go without --local-ends")
	}
	if first == nil {
		first = fmt.Errorf("no node offers a KV cache of %s with hidden states of %s", orAny(s.KV), s.Wire)
	}
	return nil, first
}

func orAny(d protocol.DType) string {
	if d == 0 {
		return "any type"
	}
	return d.String()
}

// offered lists the numerics IDs of a model's nodes that s allows, f16 KV caches first.
func offered(d *discovery.Directory, id protocol.ModelID, s Selector) []string {
	var ids []string
	ending := "/wire-" + s.Wire.String()
	if s.Ends != nil {
		ending += protocol.LocalEnds
	}
	for _, n := range d.Nodes() {
		if n.Status.Model != id {
			continue
		}
		for _, numerics := range n.Status.Numerics {
			if !strings.HasSuffix(numerics, ending) || s.KV != 0 && !strings.Contains(numerics, "/kv-"+s.KV.String()+"/") {
				continue
			}
			if !slices.Contains(ids, numerics) {
				ids = append(ids, numerics)
			}
		}
	}
	slices.Sort(ids) // "kv-f16" comes before "kv-f32"
	return ids
}
