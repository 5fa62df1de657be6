// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/shardnode/shardnode/internal/client"
	"github.com/shardnode/shardnode/internal/cmdline"
	"github.com/shardnode/shardnode/pkg/pipeline"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// progress tells the user on stderr what happens.
type progress struct {
	w        io.Writer
	verbose  bool
	terminal bool
	target   *client.Target
	steps    int
	thinking bool // the line of reasoning is not complete

	mu      sync.Mutex // guards all following fields: the search for nodes reports from its own goroutine
	patient *time.Timer
	late    bool   // the search takes long enough to speak of it
	latest  string // what is missing
	status  string // what was said last; on a terminal the unfinished line
}

// searchGrace is how long a search may take before the user hears what is missing: nodes of one machine answer within it.
const searchGrace = time.Second

func newProgress(w io.Writer, verbose bool) *progress {
	return &progress{w: w, verbose: verbose, terminal: cmdline.IsTerminal(w)}
}

// looking shows what is still missing once the search takes long.
func (p *progress) looking(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.latest = what
	if p.patient == nil {
		p.patient = time.AfterFunc(searchGrace, func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.late = p.latest != ""
			p.say()
		})
	}
	p.say()
}

// say prints the latest state of the search. The caller holds mu.
func (p *progress) say() {
	if !p.late || p.latest == p.status {
		return
	}
	p.wipe()
	p.status = p.latest
	if p.terminal {
		fmt.Fprint(p.w, p.status)
	} else {
		fmt.Fprintln(p.w, p.status)
	}
}

// found ends the search and removes its unfinished line.
func (p *progress) found() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.patient != nil {
		p.patient.Stop()
	}
	p.latest, p.late = "", false
	p.wipe()
	p.status = ""
}

func (p *progress) wipe() {
	if p.terminal && p.status != "" {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

func (p *progress) started(t *client.Target, requestID string, prompt []protocol.TokenID) {
	p.target = t
	if !p.verbose {
		return
	}
	fmt.Fprintf(p.w, "request %s: model %s (%s), %s, numerics %s\n", requestID, t.Name, t.Model.Short(), plural(len(t.Hops), "shard"), t.Numerics)
	fmt.Fprintf(p.w, "prompt: %s %v\n", plural(len(prompt), "token"), prompt)
	if t.Ends != nil {
		fmt.Fprintln(p.w, "embedding, head and sampler are here: nodes get hidden states, no tokens")
	}
}

func (p *progress) opened(r *pipeline.Report) {
	if p.verbose {
		fmt.Fprintf(p.w, "session opened at %s in %.1f ms\n", plural(len(r.Shards), "hop"), milliseconds(r.Open))
	}
}

// step shows the first pass through all shards, hop by hop.
func (p *progress) step(hops []protocol.HopTiming) {
	p.steps++
	if !p.verbose || p.steps > 1 {
		return
	}
	for i, h := range hops {
		fmt.Fprintf(p.w, "shard %d/%d: layers %s, peer %s, %s in %.2f ms\n", i+1, len(hops), h.Layers, p.target.Hops[i].Peer,
			plural(int(h.Rows), "row"), milliseconds(time.Duration(h.Processing)))
	}
}

// reasoning shows what the model thinks before it answers.
func (p *progress) reasoning(s string) {
	p.thinking = true
	fmt.Fprint(p.w, s)
}

// answering ends the reasoning.
func (p *progress) answering() {
	if p.thinking {
		fmt.Fprintln(p.w)
		p.thinking = false
	}
}

// notice tells what happens to the route: with --verbose everything, else only what the user waits for.
func (p *progress) notice(n pipeline.Notice) {
	line, always := noticeLine(n)
	if !p.verbose && !always {
		return
	}
	if p.terminal {
		line = "\n" + line // the answer's line is not complete
	}
	fmt.Fprintln(p.w, line)
}

// noticeLine words a notice, and says whether it is for those too who did not ask.
func noticeLine(n pipeline.Notice) (line string, always bool) {
	switch n := n.(type) {
	case pipeline.NoticeLost:
		where := fmt.Sprintf("shard %d/%d (layers %s, peer %s)", n.Shard, n.Shards, n.Hop.Layers, n.Hop.Peer)
		if n.Leaving {
			return fmt.Sprintf("%s will leave: looking for another node", where), false
		}
		return fmt.Sprintf("%s lost in %s, %s answered, noticed after %.1f ms: %v", where, n.Phase, plural(n.Position, "row"), milliseconds(n.Silence), n.Err), false
	case pipeline.NoticeReopen:
		return fmt.Sprintf("the route is opened again in %s, after %.1f ms: %v", n.Phase, milliseconds(n.Silence), n.Err), false
	case pipeline.NoticeWaiting:
		return fmt.Sprintf("layers %s are lost, waiting %.0f s at the most for a node that takes them: %v", joinRanges(n.Layers), n.Left.Seconds(), n.Err), true
	case pipeline.NoticeLate:
		return fmt.Sprintf("slow: no answer in %.1f s, but all nodes live", n.Silence.Seconds()), false
	case pipeline.NoticeRecovered:
		r := n.Recovery
		what, verb := "the same route", "recovered"
		if len(r.New) > 0 {
			var hops []string
			for _, h := range r.New {
				hops = append(hops, fmt.Sprintf("layers %s at %s", h.Layers, h.Peer))
			}
			what = strings.Join(hops, ", ")
		}
		if len(r.Lost) > 0 && !slices.ContainsFunc(r.Lost, func(l pipeline.NoticeLost) bool { return !l.Leaving }) {
			verb = "moved"
		}
		return fmt.Sprintf("%s in %.1f ms: %s, %s fed again", verb, milliseconds(r.Took), what, plural(r.Replayed, "row")), false
	}
	return fmt.Sprintf("%T", n), false
}

func (p *progress) done(r *client.Result) {
	p.answering()
	if !p.verbose {
		return
	}
	rep := r.Report
	for i, s := range rep.Shards {
		fmt.Fprintf(p.w, "shard %d/%d: layers %s, peer %s: prefill %.1f ms, decode %.1f ms, queue %.1f ms\n", i+1, len(rep.Shards),
			s.Hop.Layers, s.Hop.Peer, milliseconds(s.Prefill), milliseconds(s.Decode), milliseconds(s.Queue))
	}
	fmt.Fprintf(p.w, "total latency          %10.1f ms (first token after %.1f ms)\n", milliseconds(rep.Total), milliseconds(rep.TimeToFirstToken))
	fmt.Fprintf(p.w, "prefill                %10.1f ms of processing, %s\n", milliseconds(rep.Prefill), plural(rep.PromptTokens, "token"))
	fmt.Fprintf(p.w, "processing time        %10.1f ms in %s\n", milliseconds(rep.Processing), plural(rep.DecodeSteps, "decode step"))
	fmt.Fprintf(p.w, "coordination overhead  %10.1f ms, %.2f ms a token\n", milliseconds(rep.Overhead), milliseconds(rep.OverheadPerToken()))
	if r.Target.Ends != nil {
		fmt.Fprintf(p.w, "embedding and head     %10.1f ms here, part of the above\n", milliseconds(r.Ends))
	}
	reason := rep.Reason
	if reason == "" {
		reason = "error"
	}
	if len(rep.Recoveries) > 0 {
		fmt.Fprintf(p.w, "recovery               %10.1f ms, part of the above, %s\n", milliseconds(rep.Recovery), plural(len(rep.Recoveries), "interruption"))
	}
	fmt.Fprintf(p.w, "tokens                 %10d, %.1f tokens/s, finished by %s\n", rep.Tokens, rep.TokensPerSecond(), reason)
}
