// SPDX-License-Identifier: MIT

package engine

import "github.com/shardnode/shardnode/pkg/protocol"

// order decides which inputs of a session are taken, and in which order: the pure part of a session.
// It looks ahead of the step loop: position counts rows accepted, not rows computed.
type order struct {
	session protocol.SessionID
	epoch   protocol.Epoch
	step    uint32 // number of the next input of this epoch
	next    uint32 // position of the next row. Invariant: next ≤ limit
	limit   uint32 // rows reserved
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
	case uint64(position)+uint64(n) > uint64(o.limit):
		return accept, o.refuse(protocol.CodeTooLong, "step %d ends at position %d, but the session reserved %d: open it with more positions", step, uint64(position)+uint64(n), o.limit)
	}
	o.step++
	o.next += uint32(n)
	return accept, nil
}

// truncate takes a roll-back to position. On an error nothing has changed.
func (o *order) truncate(session protocol.SessionID, epoch protocol.Epoch, step, position uint32) (verdict, *protocol.Error) {
	if v, err := o.place(session, epoch, step); v != accept || err != nil {
		return v, err
	}
	if position > o.next {
		return accept, o.refuse(protocol.CodeOutOfOrder, "truncate to position %d, but the session has only %d rows: truncate goes back only", position, o.next)
	}
	o.step++
	o.next = position
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

// reopen returns the order of a new epoch that starts with kept rows. nil error: the epoch is newer than o's.
func (o *order) reopen(epoch protocol.Epoch, kept, limit uint32) (order, *protocol.Error) {
	if epoch <= o.epoch {
		return order{}, o.refuse(protocol.CodeStaleEpoch, "the session is open at epoch %d: open it with a higher one than %d", o.epoch, epoch)
	}
	return order{session: o.session, epoch: epoch, next: kept, limit: limit}, nil
}

// refuse returns an error of this session.
func (o *order) refuse(code protocol.Code, format string, args ...any) *protocol.Error {
	err := protocol.Errorf(code, format, args...)
	err.Session, err.Epoch, err.Step = o.session, o.epoch, o.step
	return err
}
