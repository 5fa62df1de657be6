// SPDX-License-Identifier: MIT

package engine

import (
	"slices"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// order decides which inputs of a session are taken, and in which order: the pure part of a session.
// It looks ahead of the step loop: position counts rows accepted, not rows computed.
type order struct {
	session protocol.SessionID
	epoch   protocol.Epoch
	step    uint32 // number of the next input of this epoch
	next    uint32 // position of the next row. Invariant: next ≤ limit
	limit   uint32 // rows reserved
	index   int    // place in the route
	hops    int    // of the route
	outputs uint32 // rows whose outputs were kept when the epoch began

	// Set by a resume: steps below have are not computed, those below give are sent on without hidden states.
	have uint32 // rows that were computed before
	give uint32 // rows that the next hop has
}

// verdict says what becomes of an input that is not refused.
type verdict uint8

const (
	accept    verdict = iota
	stale             // of an older epoch: dropped silently
	duplicate         // of a step already taken: dropped silently
)

// rows takes an input of n rows. On an error nothing has changed.
func (o *order) rows(session protocol.SessionID, epoch protocol.Epoch, step, position uint32, n int) (verdict, *protocol.Error) {
	if v, err := o.place(session, epoch, step); v != accept || err != nil {
		return v, err
	}
	switch {
	case n < 1:
		return accept, o.refuse(protocol.CodeBadFrame, "step %d has no rows: send at least one token", step)
	case position != o.next:
		return accept, o.refuse(protocol.CodeOutOfOrder, "step %d starts at position %d, expected position %d: truncate to go back", step, position, o.next)
	case crosses(position, n, o.have) || crosses(position, n, o.give):
		return accept, o.refuse(protocol.CodeOutOfOrder, "step %d has rows %d to %d, but the session was resumed with %d rows here and %d at the next hop: split it there",
			step, position, int(position)+n-1, o.have, o.give)
	case uint64(position)+uint64(n) > uint64(o.limit):
		return accept, o.refuse(protocol.CodeTooLong, "step %d ends at position %d, but the session reserved %d: open it with more positions", step, uint64(position)+uint64(n), o.limit)
	}
	o.step++
	o.next += uint32(n)
	return accept, nil
}

// crosses reports whether boundary lies within n rows from position on.
func crosses(position uint32, n int, boundary uint32) bool {
	return position < boundary && uint64(position)+uint64(n) > uint64(boundary)
}

// again reports whether rows from position on were computed before, here or at the next hop: nothing can be asked of them.
func (o *order) again(position uint32) bool { return position < max(o.have, o.give) }

// truncate takes a roll-back to position. On an error nothing has changed.
func (o *order) truncate(session protocol.SessionID, epoch protocol.Epoch, step, position uint32) (verdict, *protocol.Error) {
	if v, err := o.place(session, epoch, step); v != accept || err != nil {
		return v, err
	}
	if position > o.next {
		return accept, o.refuse(protocol.CodeOutOfOrder, "truncate to position %d, but the session has only %d rows: truncate goes back only", position, o.next)
	}
	o.step++
	o.next, o.have, o.give = position, min(o.have, position), min(o.give, position)
	return accept, nil
}

// resume takes the rows that each hop keeps: the first input of an epoch. On an error nothing has changed.
func (o *order) resume(session protocol.SessionID, epoch protocol.Epoch, step uint32, rows []uint32) (verdict, *protocol.Error) {
	if v, err := o.place(session, epoch, step); v != accept || err != nil {
		return v, err
	}
	if len(rows) != o.hops {
		return accept, o.refuse(protocol.CodeBadFrame, "resume of %d hops on a route of %d", len(rows), o.hops)
	}
	have, give := rows[o.index], uint32(0)
	if o.index+1 < o.hops {
		give = rows[o.index+1]
	}
	switch {
	case step != 0:
		return accept, o.refuse(protocol.CodeOutOfOrder, "resume is input %d, must be the first of an epoch: open a higher epoch", step)
	case have > o.next:
		return accept, o.refuse(protocol.CodeOutOfOrder, "resume with %d rows, but the session has %d", have, o.next)
	case o.index+1 < o.hops && give < have && o.outputs < have:
		return accept, o.refuse(protocol.CodeOutOfOrder, "resume wants the outputs of rows %d to %d again, only %d are kept", give, have-1, o.outputs)
	}
	o.step++
	o.next, o.have, o.give = slices.Min(rows), have, give
	return accept, nil
}

// place checks what steps and truncates share.
func (o *order) place(session protocol.SessionID, epoch protocol.Epoch, step uint32) (verdict, *protocol.Error) {
	switch {
	case session != o.session:
		return accept, o.refuse(protocol.CodeSessionNotFound, "session %s is not open on this stream: open it first", session)
	case epoch < o.epoch:
		return stale, nil
	case epoch > o.epoch:
		return accept, o.refuse(protocol.CodeOutOfOrder, "epoch %d is not open here, the session is at epoch %d: open the new epoch first", epoch, o.epoch)
	case step < o.step:
		return duplicate, nil
	case step > o.step:
		return accept, o.refuse(protocol.CodeOutOfOrder, "step %d came, expected step %d", step, o.step)
	}
	return accept, nil
}

// newer refuses an epoch that is not newer than o's.
func (o *order) newer(epoch protocol.Epoch) *protocol.Error {
	if epoch > o.epoch {
		return nil
	}
	return o.refuse(protocol.CodeStaleEpoch, "the session is open at epoch %d: open it with a higher one than %d", o.epoch, epoch)
}

// newOrder returns the order of an epoch's beginning, at a hop that has rows and the outputs of some of them.
func newOrder(f *protocol.Open, rows, outputs uint32) order {
	return order{
		session: f.Session, epoch: f.Epoch, next: rows, limit: f.Positions, index: int(f.Index), hops: len(f.Route), outputs: min(outputs, rows),
	}
}

// refuse returns an error of this session.
func (o *order) refuse(code protocol.Code, format string, args ...any) *protocol.Error {
	err := protocol.Errorf(code, format, args...)
	err.Session, err.Epoch, err.Step = o.session, o.epoch, o.step
	return err
}
