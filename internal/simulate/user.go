// SPDX-License-Identifier: MIT

package simulate

import (
	"time"

	"github.com/shardnode/shardnode/pkg/discovery"
	"github.com/shardnode/shardnode/pkg/pipeline"
	"github.com/shardnode/shardnode/pkg/placement"
	"github.com/shardnode/shardnode/pkg/protocol"
)

const (
	// usersEach is how many people share a coordinator.
	usersEach = 8
	// waits is how long a request looks for a route: `coordinator serve --wait`.
	waits = 10 * time.Second
	// lookAgain is the pause between two looks of one that waits.
	lookAgain = 500 * time.Millisecond

	thinks             = 30 * time.Second // mean time between an answer and the next request
	meanPrompt         = 256              // tokens
	meanOutput         = 128
	leastRows, maxRows = 8, 2048
)

// modelID is the model that everybody serves.
var modelID = protocol.ModelID{1}

const numerics = "sim"

// coordinator asks on behalf of some people, and remembers.
type coordinator struct {
	viewer
	dir     *discovery.Directory
	history placement.History
}

func (w *world) newCoordinator() *coordinator {
	c := &coordinator{dir: discovery.NewDirectory(discovery.NodeTTL)}
	c.viewer = viewer{w: w, key: w.rng.Uint64(), site: w.sites[w.rng.IntN(len(w.sites))]}
	return c
}

// candidates is what the directory knows, with the standing of each.
func (c *coordinator) candidates() []placement.Candidate {
	c.known(func(n *node, at time.Duration, s *state) {
		asked := moment(at)
		if old := c.dir.Node(n.peer); old != nil && !asked.After(old.Asked) {
			return
		}
		if s.status == nil {
			s.status = &protocol.Status{
				Peer: n.peer, Model: modelID, NLayers: uint32(c.w.cfg.Model.Layers), Layers: s.layers, Numerics: []string{numerics}, StepNanos: uint64(s.step),
				Sessions: uint32(s.sessions), MaxSess: maxSessions, Draining: s.draining, Loading: s.loading, Context: protocol.MaxPositions,
			}
		}
		if err := c.dir.Put(asked, s.status, 2*oneWay(c.site, n.site)); err != nil {
			panic(err) // a node says nothing that makes no sense
		}
	})
	c.dir.Expire(c.w.time())
	cands := c.dir.Candidates(modelID, numerics)
	c.history.Judge(c.w.time(), cands)
	return cands
}

// user asks, reads, thinks and asks again, as long as requests are made.
func (c *coordinator) user() {
	w := c.w
	w.after(time.Duration(w.rng.ExpFloat64()*float64(thinks)), func() {
		if w.closed {
			return
		}
		w.m.asked++
		w.active++
		c.request(w.now, false)
	})
}

// request looks for a route and generates along it.
func (c *coordinator) request(began time.Duration, waiting bool) {
	w := c.w
	route, err := placement.Route(c.candidates(), w.cfg.Model.Layers, placement.Options{})
	if err != nil && w.now-began < waits {
		if !waiting {
			c.eager++
		}
		w.after(lookAgain, func() { c.request(began, true) })
		return
	}
	if waiting {
		c.eager--
	}
	if err != nil {
		w.m.refused++
		c.over()
		return
	}
	prompt, output := w.rows(meanPrompt), w.rows(meanOutput)
	w.numbers++
	g := &generation{w: w, c: c, number: w.numbers, since: map[*node]time.Time{}}
	g.ended = c.finished
	cfg := pipeline.Config{
		Session: protocol.SessionID{byte(g.number), byte(g.number >> 8), byte(g.number >> 16), byte(g.number >> 24)}, Model: modelID, Numerics: numerics,
		Wire: protocol.F32, Route: route, Context: protocol.MaxPositions, Recover: true,
	}
	if g.state, err = pipeline.New(cfg, protocol.InferenceRequest{Tokens: make([]protocol.TokenID, prompt), MaxTokens: uint32(output)}); err != nil {
		panic(err) // a route that tiles the layers is refused
	}
	g.apply(pipeline.EventStart{})
}

// rows draws a length.
func (w *world) rows(mean float64) int {
	return int(min(max(leastRows, w.rng.ExpFloat64()*mean), maxRows))
}

// finished counts how a generation ended.
func (c *coordinator) finished(g *generation) {
	g.placed()
	err := g.state.Err()
	if err == nil {
		for _, h := range g.state.Route() {
			g.note(h.Peer, placement.OutcomeOK)
		}
	}
	c.w.m.finish(g, err)
	c.over()
}

// over ends a request.
func (c *coordinator) over() {
	c.w.active--
	c.user()
}
