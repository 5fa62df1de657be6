// SPDX-License-Identifier: MIT

package simulate

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// seat is a session at a node: of an engine's session, what costs time and memory.
type seat struct {
	g      *generation
	epoch  protocol.Epoch
	route  []*node
	index  int // in route
	layers protocol.LayerRange
	rows   int // computed
	kept   int // of them, with outputs; none of those that came from another node
	kv     int64
	free   time.Duration // when the link to the next hop has sent what it was given
}

// seatsInOrder are the seats in an order that depends on nothing but the simulation.
func (n *node) seatsInOrder() []*seat {
	return slices.SortedFunc(maps.Values(n.seats), func(a, b *seat) int { return cmp.Compare(a.g.number, b.g.number) })
}

// open reserves a session, or says why not.
func (n *node) open(g *generation, o *protocol.Open, route []*node) (*seat, *protocol.Error) {
	layers := o.Route[o.Index].Layers
	old := n.seats[g]
	if old != nil && old.epoch >= o.Epoch {
		return nil, protocol.Errorf(protocol.CodeStaleEpoch, "there is a later epoch")
	}
	s := &seat{g: g, epoch: o.Epoch, route: route, index: int(o.Index), layers: layers, kv: int64(o.Positions) * int64(layers.Len()) * n.w.cfg.Model.KVBytes}
	switch {
	case !n.serving:
		return nil, protocol.Errorf(protocol.CodeBusy, "loading layers")
	case !contains(n.layers, layers):
		return nil, protocol.Errorf(protocol.CodeWrongLayers, "serves layers %s", n.layers)
	case old == nil && n.draining:
		return nil, protocol.Errorf(protocol.CodeDraining, "leaving")
	case old == nil && (len(n.seats) >= maxSessions || n.kv+s.kv > kvBudget):
		return nil, protocol.Errorf(protocol.CodeBusy, "no room for a session")
	}
	if old != nil {
		if old.layers == layers {
			s.rows, s.kept = old.rows, old.kept
		}
		n.vacate(old)
	}
	n.seats[g] = s
	n.kv += s.kv
	n.tell()
	return s, nil
}

func contains(a, b protocol.LayerRange) bool { return a.From <= b.From && b.To <= a.To }

// fetch is how long a seat takes to get the rows of o's sources, which it then has; 0 and none if a source has them no more.
func (n *node) fetch(s *seat, o *protocol.Open) time.Duration {
	var most time.Duration
	for _, h := range o.Sources {
		from := n.w.byPeer[h.Peer]
		if from == nil || from.seats[s.g] == nil || from.seats[s.g].rows < int(o.Rows) {
			return 0
		}
		bytes := int(o.Rows) * h.Layers.Len() * int(n.w.cfg.Model.KVBytes)
		most = max(most, 2*oneWay(n.site, from.site)+transfer(from.site, n.site, bytes))
	}
	if len(o.Sources) > 0 {
		s.rows, s.kept = int(o.Rows), 0
	}
	return most
}

// vacate ends a seat.
func (n *node) vacate(s *seat) {
	if n.seats[s.g] != s {
		return
	}
	delete(n.seats, s.g)
	n.kv -= s.kv
	n.tell()
}

// job is an input of a seat on its way.
type job struct {
	s       *seat
	step    *protocol.Step   // nil: it is resume
	resume  *protocol.Resume // nil: it is step
	timings []protocol.HopTiming
	came    time.Duration
}

// rows are those that j makes the node compute; the others it has, and passes on.
func (j *job) rows() int {
	if j.step == nil || j.end() <= j.s.rows {
		return 0
	}
	return len(j.step.Tokens)
}

func (j *job) end() int { return int(j.step.Position) + len(j.step.Tokens) }

// receive queues an input.
func (n *node) receive(j *job) {
	if n.gone || n.seats[j.s.g] != j.s {
		return // who sent it will hear
	}
	j.came = n.w.now
	n.jobs = append(n.jobs, j)
	n.work()
}

const (
	// overhead is what a step costs beside computing: framing, copies, wake-ups, as placement.Route takes it.
	overhead = 250 * time.Microsecond
	// flopsPerByte is what a row computes with a byte of weights of four and a half bits.
	flopsPerByte = 4
)

// work is the step loop: one step after the other, each of as many sessions as are batched.
func (n *node) work() {
	if n.busy || len(n.jobs) == 0 {
		return
	}
	count := min(len(n.jobs), n.w.cfg.Batch)
	batch := slices.Clone(n.jobs[:count])
	n.jobs = slices.Delete(n.jobs, 0, count)
	n.busy = true
	took := n.takes(batch)
	if count == 1 && batch[0].rows() == 1 {
		whole := took * time.Duration(n.layers.Len()) / time.Duration(batch[0].s.layers.Len())
		if n.step == 0 {
			n.step = whole
		}
		n.step += (whole - n.step) / 8
	}
	began := n.w.now
	n.w.after(took, func() {
		n.busy = false
		for _, j := range batch {
			n.finish(j, began)
		}
		if !n.gone {
			n.work()
		}
	})
}

// takes is how long a step of a batch computes: as long as its weights take to be read, or its arithmetic.
func (n *node) takes(batch []*job) time.Duration {
	var read, compute float64
	for _, j := range batch {
		if rows := j.rows(); rows > 0 {
			bytes := float64(int64(j.s.layers.Len()) * n.w.cfg.Model.LayerBytes)
			read = max(read, bytes/n.decode)
			compute += bytes * flopsPerByte * float64(rows) / n.prefill
		}
	}
	return time.Duration(max(read, compute) * float64(time.Second))
}

// finish sends what a step gave on.
func (n *node) finish(j *job, began time.Duration) {
	s := j.s
	if n.gone || n.seats[s.g] != s {
		return
	}
	rows, sent := j.rows(), 0
	if j.resume != nil {
		s.rows = min(s.rows, int(j.resume.Rows[s.index]))
		s.kept = min(s.kept, s.rows)
	} else {
		j.timings = append(j.timings, protocol.HopTiming{Layers: s.layers, Rows: uint32(rows), Processing: uint64(n.w.now - began), Queue: uint64(began - j.came)})
		sent = len(j.step.Tokens)
		if rows > 0 {
			s.rows, s.kept = j.end(), j.end()
		}
	}
	if s.index == len(s.route)-1 {
		g := s.g
		n.w.after(overhead+oneWay(n.site, g.c.site), func() { g.answered(j) })
		return
	}
	to := s.route[s.index+1]
	// A stream keeps its order, and a row waits for the rows before it.
	s.free = max(s.free, n.w.now+overhead) + transfer(n.site, to.site, 4*n.w.cfg.Model.Hidden*sent)
	n.w.after(s.free+oneWay(n.site, to.site)-n.w.now, func() {
		if there := to.seats[s.g]; there != nil && there.epoch == s.epoch {
			j.s = there
			to.receive(j)
		}
	})
}
