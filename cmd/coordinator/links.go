// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/shardnode/shardnode/internal/client"
	"github.com/shardnode/shardnode/pkg/discovery"
)

// linkResult is one direction of a link in `swarm --links --json`, documented in docs/cli.md.
type linkResult struct {
	From      string  `json:"from"` // peer IDs; "": this coordinator
	To        string  `json:"to"`
	RTTMS     float64 `json:"rtt_ms"`
	JitterMS  float64 `json:"jitter_ms"`
	Loss      float64 `json:"loss"`
	Bandwidth float64 `json:"bandwidth_bytes_per_second"`
}

func newLinkResults(m *client.LinkMap) []linkResult {
	out := []linkResult{}
	for _, l := range m.Links {
		out = append(out, linkResult{From: l.From, To: l.To, RTTMS: milliseconds(l.RTT), JitterMS: milliseconds(l.Jitter), Loss: l.Loss, Bandwidth: l.Bandwidth})
	}
	return out
}

// printLinks writes the matrix, senders down and receivers across, for people: RTT ± jitter in ms, loss if any, bandwidth in Mbit/s.
func printLinks(w io.Writer, nodes []*discovery.Node, links []linkResult) error {
	names := make([]string, 0, len(nodes)+1)
	for _, n := range nodes {
		names = append(names, n.Status.Peer)
	}
	names = append(names, "")
	short := func(peer string) string {
		if peer == "" {
			return "coordinator"
		}
		return "…" + peer[max(0, len(peer)-6):]
	}
	fmt.Fprintln(w, "\nlinks, from the left to the top: round trip ± jitter in ms, loss, Mbit/s")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, to := range names {
		fmt.Fprintf(t, "\t%s", short(to))
	}
	fmt.Fprintln(t)
	for _, from := range names {
		fmt.Fprint(t, short(from))
		for _, to := range names {
			fmt.Fprintf(t, "\t%s", cell(links, from, to))
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}

// cell is one field of the matrix.
func cell(links []linkResult, from, to string) string {
	if from == to {
		return "-"
	}
	for _, l := range links {
		if l.From != from || l.To != to {
			continue
		}
		s := fmt.Sprintf("%.1f±%.1f", l.RTTMS, l.JitterMS)
		if l.Loss > 0 {
			s += fmt.Sprintf(" %.2g%%", 100*l.Loss)
		}
		if l.Bandwidth > 0 {
			s += fmt.Sprintf(" %.3g", l.Bandwidth*8/1e6)
		}
		return s
	}
	return "?"
}
