// SPDX-License-Identifier: MIT

package client

import (
	"sync"
	"sync/atomic"

	"github.com/shardnode/shardnode/pkg/p2p"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// replayer is a node that says things twice: before some of its outputs it sends, on the same stream, one that it sent earlier,
// in this epoch of the session or in one before.
type replayer struct {
	p2p.Node
	past *chaosPast
}

// chaosPast is what a node has sent, in earlier lives too.
type chaosPast struct {
	on atomic.Bool // whether to send it again

	mu       sync.Mutex // guards all following fields
	sessions map[protocol.SessionID]*replayed
	repeated int // frames
	old      int // of them, those of older epochs
}

// replayed is what a session's outputs were.
type replayed struct {
	epoch  protocol.Epoch
	frames [][]byte // bodies, oldest first
	next   int      // the one to be repeated next
	stale  int      // frames of older epochs that this one has been sent
}

// Bounds of what a session repeats. A receiver ends a stream after sixteen frames that it must refuse, which is another story.
const (
	replayKept  = 256
	replayStale = 10
	replayEvery = 3 // outputs
)

func (r replayer) OpenSession(from string, o *protocol.Open, deliver func(protocol.Frame) error) (p2p.Session, *protocol.Opened, error) {
	outputs := 0
	return r.Node.OpenSession(from, o, func(f protocol.Frame) error {
		if outputs++; outputs%replayEvery == 1 && r.past.on.Load() {
			if old := r.past.repeat(o.Session, o.Epoch); old != nil {
				if err := deliver(old); err != nil {
					return err
				}
			}
		}
		r.past.note(o.Session, f)
		return deliver(f)
	})
}

// repeat returns the next frame of a session's past, nil if there is none to be sent.
func (c *chaosPast) repeat(id protocol.SessionID, epoch protocol.Epoch) protocol.Frame {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.sessions[id]
	if p == nil || len(p.frames) == 0 {
		return nil
	}
	if p.epoch != epoch {
		p.epoch, p.stale, p.next = epoch, 0, max(0, len(p.frames)-replayStale)
	}
	f, err := protocol.Decode(p.frames[p.next%len(p.frames)])
	p.next++
	if err != nil {
		panic(err)
	}
	if frameEpoch(f) < epoch {
		if p.stale++; p.stale > replayStale {
			return nil
		}
		c.old++
	}
	c.repeated++
	return f
}

// note keeps an output.
func (c *chaosPast) note(id protocol.SessionID, f protocol.Frame) {
	if _, ok := f.(*protocol.Error); ok {
		return
	}
	b, err := protocol.AppendBody(nil, f)
	if err != nil {
		panic(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.sessions[id]
	if p == nil {
		p = &replayed{}
		c.sessions[id] = p
	}
	if len(p.frames) < replayKept {
		p.frames = append(p.frames, b)
	}
}

func frameEpoch(f protocol.Frame) protocol.Epoch {
	switch f := f.(type) {
	case *protocol.IntermediateResult:
		return f.Epoch
	case *protocol.Truncate:
		return f.Epoch
	case *protocol.Resume:
		return f.Epoch
	}
	return 0
}
