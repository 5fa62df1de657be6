// SPDX-License-Identifier: MIT

package client

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/shardnode/shardnode/pkg/discovery"
	"github.com/shardnode/shardnode/pkg/pipeline"
	"github.com/shardnode/shardnode/pkg/placement"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// dialer is a generation's way to the nodes of its model.
type dialer struct {
	c      *Client
	target *Target

	mu   sync.Mutex           // guards uses
	uses map[string]time.Time // since when the generation uses a peer; no longer from its loss on
}

func newDialer(c *Client, t *Target) *dialer {
	return &dialer{c: c, target: t, uses: map[string]time.Time{}}
}

// use remembers since when a peer is used.
func (d *dialer) use(peer string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.uses[peer].IsZero() {
		d.uses[peer] = time.Now()
	}
}

// note tells how the use of a peer ended, once.
func (d *dialer) note(peer string, o placement.Outcome) {
	d.mu.Lock()
	began, used := d.uses[peer]
	delete(d.uses, peer)
	d.mu.Unlock()
	if used {
		d.c.note(peer, o, began)
	}
}

func (d *dialer) OpenHop(ctx context.Context, hop protocol.Hop, open *protocol.Open) (pipeline.Stream, *protocol.Opened, error) {
	d.use(hop.Peer)
	s, err := d.c.host.OpenHop(ctx, hop, open)
	if err != nil {
		return nil, nil, err
	}
	opened := s.Opened()
	return s, &opened, nil
}

func (d *dialer) Probe(ctx context.Context, hop protocol.Hop) error {
	id, err := peer.Decode(hop.Peer)
	if err != nil {
		return err
	}
	_, _, err = d.c.host.Status(ctx, peer.AddrInfo{ID: id})
	return err
}

// placeGrace is how long nodes have to answer before the user hears that lost layers cannot be placed: what is known of them may be
// old, since a generation looks at nobody while all goes well.
const placeGrace = time.Second

func (d *dialer) Place(ctx context.Context, r pipeline.Repair, waiting func(error)) ([]protocol.Hop, error) {
	lost := make([]int, len(r.Lost))
	opt := placement.Options{Positions: r.Positions, Exclude: map[string]bool{}}
	for i, l := range r.Lost {
		lost[i] = l.Hop
		if l.Leaving {
			opt.Exclude[r.Route[l.Hop].Peer] = true
			continue
		}
		d.note(r.Route[l.Hop].Peer, outcome(l.Err))
	}
	var route []protocol.Hop
	var lack error
	repair := func(dir *discovery.Directory) bool {
		cands := dir.Candidates(d.target.Model, d.target.Numerics)
		d.c.judge(cands)
		route, lack = placement.Repair(cands, r.Route, lost, opt)
		return lack == nil
	}
	patient, cancel := context.WithTimeout(ctx, placeGrace)
	defer cancel()
	if err := d.c.finder.Wait(patient, repair); err == nil || ctx.Err() != nil {
		return route, err
	}
	said := ""
	err := d.c.finder.Wait(ctx, func(dir *discovery.Directory) bool {
		done := repair(dir)
		if !done && lack.Error() != said {
			said = lack.Error()
			waiting(lack)
		}
		return done
	})
	return route, err
}

// note remembers how a node behaved in a use of it.
func (c *Client) note(peer string, o placement.Outcome, began time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.history.Note(time.Now(), peer, o, began)
}

// judge sets the standing of candidates by what is remembered.
func (c *Client) judge(cands []placement.Candidate) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.history.Judge(time.Now(), cands)
}

// noteEnd remembers what the generation's end says of its nodes.
func (d *dialer) noteEnd(state *pipeline.PipelineState, err error) {
	var failed *pipeline.FailedError
	switch {
	case err == nil:
		for _, h := range state.Route() {
			d.note(h.Peer, placement.OutcomeOK)
		}
	case errors.As(err, &failed) && failed.Hop != nil:
		d.note(failed.Hop.Peer, outcome(failed.Err))
	}
}

// outcome says what an error tells of the node that it blames.
func outcome(err error) placement.Outcome {
	var told *protocol.Error
	if !errors.As(err, &told) || told.Lost != "" {
		return placement.OutcomeFailed
	}
	switch told.Code {
	case protocol.CodeBusy, protocol.CodeDraining, protocol.CodeTooLong:
		return placement.OutcomeBusy
	case protocol.CodeBadRequest:
		return placement.OutcomeOK // the request's fault
	case protocol.CodeUnsupported, protocol.CodeWrongModel, protocol.CodeWrongNumerics, protocol.CodeForbidden, protocol.CodeBadFrame:
		return placement.OutcomeUnfit
	}
	return placement.OutcomeFailed
}
