// SPDX-License-Identifier: MIT

package waterfall

import (
	"slices"
	"time"

	"github.com/shardnode/shardnode/pkg/pipeline"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// MaxSteps bounds the steps that a document has one by one.
const MaxSteps = 4096

// Collector takes the steps of one generation as they come. The zero value is ready. It is not safe for concurrent use.
type Collector struct {
	// Keep is asked whether there is room for one more step, of so many hops. Nil: for [MaxSteps]. What is left out counts in sums.
	Keep func(hops int) bool

	routes  []route
	steps   []step
	leftOut int
	prefill total
}

// route is one that steps went along.
type route struct {
	epoch  protocol.Epoch
	hops   []protocol.Hop
	decode total
}

type step struct {
	*pipeline.StepTrace
	route int
}

// total sums steps up.
type total struct {
	steps                              int
	total, wire, coordinator, recovery time.Duration
	hops                               []pipeline.HopTrace // [hops]; of steps along one route
}

func (t *total) add(s *pipeline.StepTrace) {
	t.steps++
	t.total += s.Total
	t.wire += s.Wire
	t.coordinator += s.Coordinator
	t.recovery += s.Recovery
	if more := len(s.Hops) - len(t.hops); more > 0 {
		t.hops = append(t.hops, make([]pipeline.HopTrace, more)...)
	}
	for i, h := range s.Hops {
		t.hops[i].Queue += h.Queue
		t.hops[i].Decode += h.Decode
		t.hops[i].Compute += h.Compute
		t.hops[i].Encode += h.Encode
	}
}

// Add takes a step. It keeps s, which must not change any more.
func (c *Collector) Add(s *pipeline.StepTrace) {
	i := slices.IndexFunc(c.routes, func(r route) bool { return r.epoch == s.Epoch })
	if i < 0 {
		i = len(c.routes)
		c.routes = append(c.routes, route{epoch: s.Epoch, hops: s.Route})
	}
	if s.Phase == pipeline.PhaseDecode {
		c.routes[i].decode.add(s)
	} else {
		c.prefill.add(s)
	}
	if c.leftOut > 0 || len(c.steps) == MaxSteps || c.Keep != nil && !c.Keep(len(s.Hops)) {
		c.leftOut++
		return
	}
	c.steps = append(c.steps, step{s, i})
}

// Routes returns the routes that steps went along, in order.
func (c *Collector) Routes() [][]protocol.Hop {
	var all [][]protocol.Hop
	for _, r := range c.routes {
		all = append(all, r.hops)
	}
	return all
}

// About is what a document says of its generation beside the steps.
type About struct {
	RequestID string
	Model     string
	Path      protocol.Path
	Report    *pipeline.Report
}

// Document makes the document. trips has, for each of [Collector.Routes], the round trips of the ways that a step takes: to the first hop, from each
// hop to the next, and back from the last, in all hops + 1; 0 or missing: not known.
func (c *Collector) Document(a About, trips [][]time.Duration) *Document {
	d := &Document{
		RequestID: a.RequestID, Model: a.Model, Path: "direct", PromptTokens: a.Report.PromptTokens, Tokens: a.Report.Tokens,
		OpenMS: ms(a.Report.Open), FirstTokenMS: ms(a.Report.TimeToFirstToken), TotalMS: ms(a.Report.Total),
		Routes: []Route{}, Steps: []Step{}, StepsLeftOut: c.leftOut,
	}
	if a.Path == protocol.PathRelay {
		d.Path = "relay"
	}
	shares := make([][]float64, len(c.routes))
	var decode total
	for i := range c.routes {
		r := &c.routes[i]
		known := make([]time.Duration, len(r.hops)+1)
		if i < len(trips) {
			copy(known, trips[i])
		}
		shares[i] = Shares(known)
		out := Route{ReturnRTTMS: ms(known[len(r.hops)]), Decode: r.decode.sum()}
		out.Decode.Hops, out.Decode.ReturnMS = parts(r.decode.hops, r.decode.wire, shares[i])
		for j, h := range r.hops {
			out.Hops = append(out.Hops, Hop{Layers: h.Layers.String(), Peer: h.Peer, RTTMS: ms(known[j])})
		}
		d.Routes = append(d.Routes, out)
		decode.merge(&r.decode)
	}
	for _, s := range c.steps {
		out := Step{
			Route: s.route, Phase: string(s.Phase), Position: s.Position, Rows: s.Rows, StartMS: ms(s.Start), TotalMS: ms(s.Total),
			RecoveryMS: ms(s.Recovery), CoordinatorMS: ms(s.Coordinator), Scaled: s.Scaled,
		}
		out.Hops, out.ReturnMS = parts(s.Hops, s.Wire, shares[s.route])
		d.Steps = append(d.Steps, out)
	}
	d.Prefill, d.Decode = c.prefill.sum(), decode.sum()
	d.Limit = limit(d)
	return d
}

// merge adds other, whose hops may be others: what all hops did together stays right.
func (t *total) merge(other *total) {
	all := pipeline.StepTrace{Total: other.total, Wire: other.wire, Coordinator: other.coordinator, Recovery: other.recovery, Hops: other.hops}
	steps := t.steps + other.steps
	t.add(&all)
	t.steps = steps
}

func (t *total) sum() Sum {
	s := Sum{Steps: t.steps, TotalMS: ms(t.total), WireMS: ms(t.wire), CoordinatorMS: ms(t.coordinator), RecoveryMS: ms(t.recovery)}
	var h pipeline.HopTrace
	for _, hop := range t.hops {
		h.Compute += hop.Compute
		h.Queue += hop.Queue
		h.Decode += hop.Decode
		h.Encode += hop.Encode
	}
	s.ComputeMS, s.QueueMS, s.DecodeMS, s.EncodeMS = ms(h.Compute), ms(h.Queue), ms(h.Decode), ms(h.Encode)
	return s
}

// parts are the hops' parts, with the wire's time divided among the ways.
func parts(hops []pipeline.HopTrace, wire time.Duration, shares []float64) (out []HopPart, back float64) {
	out = []HopPart{}
	left := wire
	for i, h := range hops {
		way := min(time.Duration(float64(wire)*shares[i]), left)
		left -= way
		out = append(out, HopPart{WireMS: ms(way), QueueMS: ms(h.Queue), DecodeMS: ms(h.Decode), ComputeMS: ms(h.Compute), EncodeMS: ms(h.Encode)})
	}
	return out, ms(left)
}

// Shares says which share of the wire's time each way gets: in proportion to its round trip. One that is not known, 0, counts as the mean of
// the others.
func Shares(trips []time.Duration) []float64 {
	var sum time.Duration
	known := 0
	for _, d := range trips {
		if d > 0 {
			sum += d
			known++
		}
	}
	mean := 1.0
	if known > 0 {
		mean = float64(sum) / float64(known)
	}
	all := float64(sum) + mean*float64(len(trips)-known)
	shares := make([]float64, len(trips))
	for i, d := range trips {
		shares[i] = mean / all
		if d > 0 {
			shares[i] = float64(d) / all
		}
	}
	return shares
}

// ms is a time in milliseconds, to the microsecond.
func ms(d time.Duration) float64 { return float64(d.Round(time.Microsecond).Microseconds()) / 1000 }
