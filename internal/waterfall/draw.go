// SPDX-License-Identifier: MIT

package waterfall

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"strings"
)

const (
	barWidth = 60 // characters of a step's bar
	mostRows = 24 // steps drawn one by one
)

// Letters of the parts in a bar: a step's line reads from left to right as the step went.
const (
	letterCoordinator = 'c'
	letterWire        = '·'
	letterQueue       = 'q'
	letterEncode      = 'e'
	letterRecovery    = 'x'
)

// hopLetter is what a hop's compute is drawn with: its place.
func hopLetter(i int) rune { return []rune("123456789")[i%9] }

// Draw writes the document for people: a bar for each token, then the sums and what limits the rate.
func (d *Document) Draw(w io.Writer) error {
	out := bufio.NewWriter(w)
	d.drawRoutes(out)
	d.drawSteps(out)
	d.drawSums(out)
	if l := d.Limit; l != nil {
		fmt.Fprintf(out, "limit: %s, %.0f %% of a token", l.Part, 100*l.Share)
		if l.Hop >= 0 {
			fmt.Fprintf(out, ", at hop %d (layers %s)", l.Hop+1, l.Layers)
		}
		fmt.Fprintf(out, ": %.1f tokens/s", l.Rate)
		if l.Without > 0 {
			fmt.Fprintf(out, ", %.1f without it", l.Without)
		}
		fmt.Fprintf(out, "\n       %s\n", l.Advice)
	}
	return out.Flush()
}

func (d *Document) drawRoutes(w io.Writer) {
	for i, r := range d.Routes {
		fmt.Fprintf(w, "route %d (%s):\n", i+1, d.Path)
		for j, h := range r.Hops {
			fmt.Fprintf(w, "  hop %d  layers %-9s %s  round trip to it %s\n", j+1, h.Layers, h.Peer, trip(h.RTTMS))
		}
		fmt.Fprintf(w, "  back to the coordinator: round trip %s\n", trip(r.ReturnRTTMS))
	}
}

func trip(ms float64) string {
	if ms == 0 {
		return "not known"
	}
	return fmt.Sprintf("%.2f ms", ms)
}

// drawSteps draws a bar for each step. Chunks and decode steps have a scale each: the longest is as wide as there is room.
func (d *Document) drawSteps(w io.Writer) {
	if len(d.Steps) == 0 {
		return
	}
	shown := d.Steps[:min(len(d.Steps), mostRows)]
	longest := map[string]float64{}
	for _, s := range shown {
		longest[s.Phase] = max(longest[s.Phase], s.TotalMS)
	}
	fmt.Fprintln(w, "each step from left to right: 1-9 computing at that hop, · wire, q queue, e encoding, c coordinator, x recovery")
	phase := ""
	for _, s := range shown {
		if s.Phase != phase {
			phase = s.Phase
			fmt.Fprintf(w, "  %s, a character is %.3f ms:\n", phase, longest[phase]/barWidth)
		}
		what := fmt.Sprintf("row %d", s.Position)
		if s.Rows > 1 {
			what = fmt.Sprintf("rows %d-%d", s.Position, s.Position+s.Rows-1)
		}
		note := ""
		if s.Scaled {
			note = "  (the hops claim more time than passed)"
		}
		fmt.Fprintf(w, "    %-12s %9.2f ms  %s%s\n", what, s.TotalMS, s.bar(barWidth/max(longest[phase], 0.001)), note)
	}
	if n := len(d.Steps) - len(shown) + d.StepsLeftOut; n > 0 {
		fmt.Fprintf(w, "    and %d more: --trace-json FILE has them\n", n)
	}
}

// bar draws the step at so many characters a millisecond. Ends are rounded, not widths, so that the bar is as long as the step.
func (s *Step) bar(scale float64) string {
	var b strings.Builder
	at, drawn := 0.0, 0
	put := func(letter rune, took float64) {
		at += took
		for end := int(math.Round(at * scale)); drawn < end; drawn++ {
			b.WriteRune(letter)
		}
	}
	put(letterRecovery, s.RecoveryMS)
	put(letterCoordinator, s.CoordinatorMS)
	for i, h := range s.Hops {
		put(letterWire, h.WireMS)
		put(letterEncode, h.DecodeMS)
		put(letterQueue, h.QueueMS)
		put(hopLetter(i), h.ComputeMS)
		put(letterEncode, h.EncodeMS)
	}
	put(letterWire, s.ReturnMS)
	return b.String()
}

// drawSums draws the sums of decode steps, and each hop's part of them.
func (d *Document) drawSums(w io.Writer) {
	fmt.Fprintf(w, "first token after %.1f ms, %.1f ms of it for opening; prompt of %d tokens: the hops computed %.1f ms\n",
		d.FirstTokenMS, d.OpenMS, d.PromptTokens, d.Prefill.ComputeMS)
	s := &d.Decode
	if s.Steps == 0 {
		return
	}
	n := float64(s.Steps)
	fmt.Fprintf(w, "%d decode steps, %.1f ms, of each token's %.3f ms:\n", s.Steps, s.TotalMS, s.TotalMS/n)
	for _, p := range []struct {
		name string
		took float64
	}{
		{"compute", s.ComputeMS},
		{"queue", s.QueueMS},
		{"encode", s.DecodeMS + s.EncodeMS},
		{"wire", s.WireMS},
		{"coordinator", s.CoordinatorMS},
		{"recovery", s.RecoveryMS},
	} {
		if p.name == "recovery" && p.took == 0 {
			continue
		}
		share := p.took / s.TotalMS
		fmt.Fprintf(w, "  %-11s %9.3f ms %5.1f %%  %s\n", p.name, p.took/n, 100*share, strings.Repeat("#", int(math.Round(share*barWidth))))
	}
	r := &d.Routes[len(d.Routes)-1]
	if n = float64(r.Decode.Steps); n == 0 {
		return
	}
	fmt.Fprintf(w, "  by hop, ms a token:%s\n", map[bool]string{true: " (of the last route)"}[len(d.Routes) > 1])
	for i, h := range r.Decode.Hops {
		fmt.Fprintf(w, "    %d  layers %-9s wire %.3f  queue %.3f  compute %.3f  encode %.3f\n",
			i+1, r.Hops[i].Layers, h.WireMS/n, h.QueueMS/n, h.ComputeMS/n, (h.DecodeMS+h.EncodeMS)/n)
	}
	fmt.Fprintf(w, "    back to the coordinator  wire %.3f\n", r.Decode.ReturnMS/n)
}

// round rounds to so many decimals.
func round(x float64, decimals int) float64 {
	p := math.Pow10(decimals)
	return math.Round(x*p) / p
}
