// SPDX-License-Identifier: MIT

package client

import (
	"context"
	"errors"
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
}

func (d dialer) OpenHop(ctx context.Context, hop protocol.Hop, open *protocol.Open) (pipeline.Stream, *protocol.Opened, error) {
	s, err := d.c.host.OpenHop(ctx, hop, open)
	if err != nil {
		return nil, nil, err
	}
	opened := s.Opened()
	return s, &opened, nil
}

func (d dialer) Probe(ctx context.Context, hop protocol.Hop) error {
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

func (d dialer) Place(ctx context.Context, r pipeline.Repair, waiting func(error)) ([]protocol.Hop, error) {
	lost := make([]int, len(r.Lost))
	opt := placement.Options{Positions: r.Positions, Exclude: map[string]bool{}}
	for i, l := range r.Lost {
		lost[i] = l.Hop
		if l.Leaving {
			opt.Exclude[r.Route[l.Hop].Peer] = true
			continue
		}
		d.c.note(r.Route[l.Hop].Peer, outcome(l.Err))
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

// note remembers how a node behaved.
func (c *Client) note(peer string, o placement.Outcome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.history.Note(time.Now(), peer, o)
}

// judge sets the standing of candidates by what is remembered.
func (c *Client) judge(cands []placement.Candidate) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.history.Judge(time.Now(), cands)
}

// noteEnd remembers what a generation's end says of its nodes.
func (c *Client) noteEnd(state *pipeline.PipelineState, err error) {
	var failed *pipeline.FailedError
	switch {
	case err == nil:
		for _, h := range state.Route() {
			c.note(h.Peer, placement.OutcomeOK)
		}
	case errors.As(err, &failed) && failed.Hop != nil:
		c.note(failed.Hop.Peer, outcome(failed.Err))
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
	case protocol.CodeWrongModel, protocol.CodeWrongNumerics, protocol.CodeForbidden, protocol.CodeBadFrame:
		return placement.OutcomeUnfit
	}
	return placement.OutcomeFailed
}
