// SPDX-License-Identifier: MIT

package placement

import (
	"fmt"
	"strings"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// Serving is one node's part in a [NoRouteError].
type Serving struct {
	Peer   string
	Layers protocol.LayerRange
	Reason string // why it cannot take a session now: "draining", "full", "failed lately", …; "": it can
}

// NoRouteError says that some layers cannot be served now.
type NoRouteError struct {
	NLayers int
	Missing []protocol.LayerRange // that no usable node serves, in order; never empty
	Have    []Serving             // all nodes seen, by first layer
}

func newNoRouteError(cands []Candidate, nLayers int, missing []protocol.LayerRange, opt *Options) *NoRouteError {
	e := &NoRouteError{NLayers: nLayers, Missing: missing}
	for _, c := range sorted(cands, nLayers) {
		e.Have = append(e.Have, Serving{Peer: c.Peer, Layers: c.Layers, Reason: c.reason(opt)})
	}
	return e
}

// Busy reports whether nodes serve all the missing layers and have no room now: waiting helps.
func (e *NoRouteError) Busy() bool {
	var full []*Candidate
	for _, s := range e.Have {
		if s.Reason == reasonBusy || s.Reason == reasonFull {
			full = append(full, &Candidate{Peer: s.Peer, Layers: s.Layers})
		}
	}
	for _, gap := range gaps(full, e.NLayers) {
		for _, m := range e.Missing {
			if gap.From < m.To && m.From < gap.To {
				return false
			}
		}
	}
	return true
}

// maxNamed is how many nodes a message names before it only counts.
const maxNamed = 8

// Error names the missing layers, who serves the rest, and the command that would help.
func (e *NoRouteError) Error() string {
	var b strings.Builder
	if e.Missing[0].Len() == e.NLayers {
		fmt.Fprintf(&b, "no route: no node takes any of the layers %s", e.Missing[0])
	} else {
		fmt.Fprintf(&b, "no route: no node takes layers %s of 0-%d", join(e.Missing), e.NLayers-1)
	}
	for i, s := range e.Have {
		if i == 0 {
			b.WriteString("; found")
		} else {
			b.WriteString(",")
		}
		if i == maxNamed {
			fmt.Fprintf(&b, " and %d more", len(e.Have)-i)
			break
		}
		fmt.Fprintf(&b, " %s at %s", s.Layers, s.Peer)
		if s.Reason != "" {
			fmt.Fprintf(&b, " (%s)", s.Reason)
		}
	}
	b.WriteString("; start a node with: shardnode --layers " + e.Missing[0].String())
	return b.String()
}

func join(ranges []protocol.LayerRange) string {
	names := make([]string, len(ranges))
	for i, r := range ranges {
		names[i] = r.String()
	}
	return strings.Join(names, ", ")
}
