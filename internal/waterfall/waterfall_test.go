// SPDX-License-Identifier: MIT

package waterfall

import (
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/shardnode/shardnode/pkg/pipeline"
	"github.com/shardnode/shardnode/pkg/protocol"
)

func hops(n int) []protocol.Hop {
	var route []protocol.Hop
	for i := range n {
		route = append(route, protocol.Hop{Peer: string(rune('a' + i)), Layers: protocol.LayerRange{From: 8 * i, To: 8*i + 8}})
	}
	return route
}

// decode is a step whose parts make its total.
func decode(position int, epoch protocol.Epoch, hops []protocol.Hop, coordinator, wire, recovery time.Duration, parts ...pipeline.HopTrace) *pipeline.StepTrace {
	s := &pipeline.StepTrace{
		Phase: pipeline.PhaseDecode, Position: position, Rows: 1, Epoch: epoch, Route: hops,
		Coordinator: coordinator, Wire: wire, Recovery: recovery, Hops: parts, Total: coordinator + wire + recovery,
	}
	for i := range parts {
		s.Total += parts[i].Sum()
	}
	return s
}

// In the document too the parts of each step, and of the sums, make the whole, within the rounding of each number to a microsecond.
func TestDocumentAddsUp(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		d := func(name string) time.Duration {
			return time.Duration(rapid.Int64Range(0, int64(time.Second)).Draw(t, name))
		}
		var c Collector
		var trips [][]time.Duration
		routes := rapid.IntRange(1, 3).Draw(t, "routes")
		for epoch := range routes {
			way := hops(rapid.IntRange(1, 5).Draw(t, "hops"))
			for i := range rapid.IntRange(1, 4).Draw(t, "steps") {
				var parts []pipeline.HopTrace
				for range way {
					parts = append(parts, pipeline.HopTrace{Queue: d("queue"), Decode: d("decode"), Compute: d("compute"), Encode: d("encode")})
				}
				c.Add(decode(i, protocol.Epoch(epoch), way, d("coordinator"), d("wire"), d("recovery"), parts...))
			}
			var own []time.Duration
			for range rapid.IntRange(0, len(way)+1).Draw(t, "known") {
				own = append(own, d("trip"))
			}
			trips = append(trips, own)
		}
		doc := c.Document(About{Report: &pipeline.Report{}}, trips)
		const half = 0.0005 // of a microsecond, in ms
		near := func(what string, got, want float64, numbers int) {
			if math.Abs(got-want) > half*float64(numbers)+1e-6 {
				t.Fatalf("%s: the parts make %.4f ms of %.4f", what, got, want)
			}
		}
		steps := 0.0
		for _, s := range doc.Steps {
			sum := s.RecoveryMS + s.CoordinatorMS + s.ReturnMS
			for _, h := range s.Hops {
				sum += h.WireMS + h.QueueMS + h.DecodeMS + h.ComputeMS + h.EncodeMS
			}
			near("a step", sum, s.TotalMS, 4+5*len(s.Hops))
			steps += s.TotalMS
		}
		all := func(s *Sum) float64 {
			return s.ComputeMS + s.QueueMS + s.DecodeMS + s.EncodeMS + s.WireMS + s.CoordinatorMS + s.RecoveryMS
		}
		near("the sum", all(&doc.Decode), doc.Decode.TotalMS, 8)
		near("the steps", steps, doc.Decode.TotalMS, len(doc.Steps)+1)
		total := 0.0
		for _, r := range doc.Routes {
			near("a route", all(&r.Decode), r.Decode.TotalMS, 8)
			wire := r.Decode.ReturnMS
			for _, h := range r.Decode.Hops {
				wire += h.WireMS
			}
			near("a route's wire", wire, r.Decode.WireMS, 2+len(r.Decode.Hops))
			total += r.Decode.TotalMS
		}
		near("the routes", total, doc.Decode.TotalMS, 1+len(doc.Routes))
		if l := doc.Limit; l == nil || l.Share < 0 || l.Share > 1 {
			t.Fatalf("limit %+v", l)
		}
	})
}

// The wire's time goes to the ways in proportion to their round trips; one that is not known counts as the mean of the others.
func TestWireIsSplitByRoundTrips(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		trips []time.Duration
		want  []float64 // ms, of 100 ms of wire
	}{
		{[]time.Duration{10, 20, 70}, []float64{10, 20, 70}},
		{nil, []float64{33.333, 33.333, 33.333}},
		{[]time.Duration{10, 0, 30}, []float64{16.667, 33.333, 50}},
	} {
		var col Collector
		col.Add(decode(3, 0, hops(2), 0, 100*time.Millisecond, 0, pipeline.HopTrace{}, pipeline.HopTrace{}))
		s := col.Document(About{Report: &pipeline.Report{}}, [][]time.Duration{c.trips}).Steps[0]
		for i, got := range []float64{s.Hops[0].WireMS, s.Hops[1].WireMS, s.ReturnMS} {
			if math.Abs(got-c.want[i]) > 0.0015 {
				t.Errorf("trips %v: way %d gets %.3f ms, want %.3f", c.trips, i, got, c.want[i])
			}
		}
	}
}

func TestLimit(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for _, c := range []struct {
		name          string
		step          *pipeline.StepTrace
		part          string
		hop           int
		rate, without float64
	}{
		{"compute", decode(3, 0, hops(2), ms, 2*ms, 0, pipeline.HopTrace{Compute: 2 * ms}, pipeline.HopTrace{Compute: 5 * ms}), "compute", 1, 100, 200},
		{"wire", decode(3, 0, hops(2), ms, 8*ms, 0, pipeline.HopTrace{Compute: 5 * ms}, pipeline.HopTrace{Compute: 6 * ms}), "wire", -1, 50, 83.33},
		{"queue", decode(3, 0, hops(1), 0, 0, 0, pipeline.HopTrace{Queue: 3 * ms, Compute: ms}), "queue", 0, 250, 1000},
		{"only", decode(3, 0, hops(1), 0, 0, 0, pipeline.HopTrace{Compute: ms}), "compute", 0, 1000, 0},
		{"recovery", decode(3, 1, hops(1), ms, ms, 18*ms, pipeline.HopTrace{}), "recovery", -1, 50, 500},
		{"coordinator", decode(3, 0, hops(1), 4*ms, ms, 0, pipeline.HopTrace{}), "coordinator", -1, 200, 1000},
		{"encode", decode(3, 0, hops(1), ms, ms, 0, pipeline.HopTrace{Encode: 2 * ms, Decode: ms}), "encode", 0, 200, 500},
	} {
		var col Collector
		col.Add(c.step)
		l := col.Document(About{Report: &pipeline.Report{}}, nil).Limit
		if l.Part != c.part || l.Hop != c.hop || l.Rate != c.rate || l.Without != c.without || l.Advice == "" {
			t.Errorf("%s: %+v", c.name, l)
		}
		if (l.Layers != "") != (c.hop >= 0) {
			t.Errorf("%s: layers %q", c.name, l.Layers)
		}
	}
	var chunk Collector
	chunk.Add(&pipeline.StepTrace{Phase: pipeline.PhasePrefill, Rows: 4, Route: hops(1), Hops: make([]pipeline.HopTrace, 1), Total: ms, Wire: ms})
	if l := chunk.Document(About{Report: &pipeline.Report{}}, nil).Limit; l != nil {
		t.Errorf("of a prompt alone: %+v", l)
	}
}

// A document is bounded, its sums are not.
func TestStepsAreBounded(t *testing.T) {
	t.Parallel()
	var c Collector
	for i := range MaxSteps + 5 {
		c.Add(decode(i, 0, hops(1), time.Millisecond, 0, 0, pipeline.HopTrace{}))
	}
	d := c.Document(About{Report: &pipeline.Report{}}, nil)
	if len(d.Steps) != MaxSteps || d.StepsLeftOut != 5 || d.Decode.Steps != MaxSteps+5 || d.Decode.TotalMS != MaxSteps+5 {
		t.Errorf("%d steps, %d left out, sums of %d", len(d.Steps), d.StepsLeftOut, d.Decode.Steps)
	}
}

// A bar reads from left to right as the step went, and is as long as the step.
func TestDraw(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	var c Collector
	c.Add(&pipeline.StepTrace{Phase: pipeline.PhasePrefill, Position: 0, Rows: 14, Route: hops(2), Total: 30 * ms, Wire: 30 * ms, Hops: make([]pipeline.HopTrace, 2)})
	c.Add(decode(14, 0, hops(2), 3*ms, 30*ms, 0, pipeline.HopTrace{Decode: ms, Queue: 2 * ms, Compute: 10 * ms, Encode: 2 * ms}, pipeline.HopTrace{Compute: 12 * ms}))
	var b strings.Builder
	if err := c.Document(About{Report: &pipeline.Report{PromptTokens: 14}}, [][]time.Duration{{ms, ms, ms}}).Draw(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"  prefill, a character is 0.500 ms:\n    rows 0-13        30.00 ms  " + strings.Repeat("·", 60) + "\n",
		"  decode, a character is 1.000 ms:\n    row 14           60.00 ms  ccc··········eqq1111111111ee··········222222222222··········\n",
		"wire           30.000 ms  50.0 %  " + strings.Repeat("#", 30) + "\n",
		"1  layers 0-7       wire 10.000  queue 2.000  compute 10.000  encode 3.000\n",
		"limit: wire, 50 % of a token: 16.7 tokens/s, 33.3 without it\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("want %q in\n%s", want, b.String())
		}
	}
}
