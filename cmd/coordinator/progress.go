// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/shardnode/shardnode/internal/client"
	"github.com/shardnode/shardnode/pkg/pipeline"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// progress tells the user on stderr what happens. It belongs to the goroutine that drives the command.
type progress struct {
	w        io.Writer
	verbose  bool
	terminal bool
	target   *client.Target
	status   string // the unfinished line on a terminal
	steps    int
}

func newProgress(w io.Writer, verbose bool) *progress {
	return &progress{w: w, verbose: verbose, terminal: isTerminal(w)}
}

// looking shows what is still missing while the swarm is searched: at once with --verbose or on a terminal.
func (p *progress) looking(what string) {
	if what == p.status || (!p.terminal && !p.verbose) {
		return
	}
	if !p.terminal {
		p.status = what
		fmt.Fprintln(p.w, what)
		return
	}
	p.clear()
	p.status = what
	fmt.Fprint(p.w, what)
}

// clear removes the unfinished line.
func (p *progress) clear() {
	if p.terminal && p.status != "" {
		fmt.Fprint(p.w, "\r"+strings.Repeat(" ", len([]rune(p.status)))+"\r")
	}
	p.status = ""
}

func (p *progress) started(t *client.Target, requestID string, prompt []protocol.TokenID) {
	p.target = t
	if !p.verbose {
		return
	}
	fmt.Fprintf(p.w, "request %s: model %s (%s), %s, numerics %s\n", requestID, t.Name, t.Model.Short(), plural(len(t.Hops), "shard"), t.Numerics)
	fmt.Fprintf(p.w, "prompt: %s %v\n", plural(len(prompt), "token"), prompt)
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

func (p *progress) done(r *client.Result) {
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
	fmt.Fprintf(p.w, "tokens                 %10d, %.1f tokens/s, finished by %s\n", rep.Tokens, rep.TokensPerSecond(), rep.Reason)
}
