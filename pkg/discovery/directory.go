// SPDX-License-Identifier: MIT

package discovery

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/shardnode/shardnode/pkg/placement"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// Directory records who serves what, from the nodes' own answers. It reads no clock and is not safe for concurrent use;
// [Finder.Directory] returns a copy of its own.
type Directory struct {
	ttl    time.Duration
	nodes  map[string]*Node    // by peer ID; a Node is never changed, only replaced
	failed map[string]*Failure // peers that did not answer when last asked
}

// Node is one entry.
type Node struct {
	Status *protocol.Status // as answered; not to be changed
	RTT    time.Duration    // of status requests: follows shorter ones at once and longer ones slowly
	Asked  time.Time        // when the question was sent
}

// Failure is a candidate that could not be asked.
type Failure struct {
	Peer  string
	Err   error
	Asked time.Time
}

// Model is what the directory knows of one model.
type Model struct {
	ID      protocol.ModelID
	Name    string // as the first of its nodes calls it
	NLayers int
	Nodes   int
	Missing []protocol.LayerRange // that nobody serves, in order
	AtRisk  []protocol.LayerRange // that one node serves, in order
}

// maxFailures bounds what strangers can make us remember.
const maxFailures = 64

// NewDirectory returns an empty directory whose entries live for ttl.
func NewDirectory(ttl time.Duration) *Directory {
	return &Directory{ttl: ttl, nodes: map[string]*Node{}, failed: map[string]*Failure{}}
}

// Put enters an answer to a question sent at asked. It replaces what the node said before, but for an answer to a later
// question, and refuses a status that makes no sense.
func (d *Directory) Put(asked time.Time, st *protocol.Status, rtt time.Duration) error {
	if st.NLayers > protocol.MaxLayers || !st.Layers.Valid(int(st.NLayers)) {
		return fmt.Errorf("node %s claims layers [%d,%d) of %d", st.Peer, st.Layers.From, st.Layers.To, st.NLayers)
	}
	if old := d.nodes[st.Peer]; old != nil {
		if asked.Before(old.Asked) {
			return nil
		}
		if rtt > old.RTT {
			rtt = old.RTT + (rtt-old.RTT)/4
		}
	}
	d.nodes[st.Peer] = &Node{Status: st, RTT: rtt, Asked: asked}
	delete(d.failed, st.Peer)
	return nil
}

// Fail notes that a peer did not answer, and removes what it said before: a node that cannot be asked cannot serve.
func (d *Directory) Fail(asked time.Time, peer string, err error) {
	d.Remove(peer)
	if d.failed[peer] == nil && len(d.failed) >= maxFailures {
		oldest := slices.MinFunc(d.Failures(), func(a, b *Failure) int { return a.Asked.Compare(b.Asked) })
		delete(d.failed, oldest.Peer)
	}
	d.failed[peer] = &Failure{Peer: peer, Err: err, Asked: asked}
}

// Remove forgets a node, and reports whether it was there.
func (d *Directory) Remove(peer string) bool {
	_, ok := d.nodes[peer]
	delete(d.nodes, peer)
	return ok
}

// Expire forgets answers and failures older than the directory's TTL, and reports whether a node was among them.
func (d *Directory) Expire(now time.Time) bool {
	before := len(d.nodes)
	maps.DeleteFunc(d.nodes, func(_ string, n *Node) bool { return now.Sub(n.Asked) > d.ttl })
	maps.DeleteFunc(d.failed, func(_ string, f *Failure) bool { return now.Sub(f.Asked) > d.ttl })
	return len(d.nodes) < before
}

// Nodes returns all entries by model, first layer and peer ID.
func (d *Directory) Nodes() []*Node {
	return slices.SortedFunc(maps.Values(d.nodes), func(a, b *Node) int {
		return cmp.Or(slices.Compare(a.Status.Model[:], b.Status.Model[:]), cmp.Compare(a.Status.Layers.From, b.Status.Layers.From),
			cmp.Compare(a.Status.Layers.To, b.Status.Layers.To), cmp.Compare(a.Status.Peer, b.Status.Peer))
	})
}

// Node returns a peer's entry, nil if there is none.
func (d *Directory) Node(peer string) *Node { return d.nodes[peer] }

// Failures returns the peers that did not answer, by peer ID.
func (d *Directory) Failures() []*Failure {
	return slices.SortedFunc(maps.Values(d.failed), func(a, b *Failure) int { return cmp.Compare(a.Peer, b.Peer) })
}

// Models returns the models seen, by name and ID.
func (d *Directory) Models() []Model {
	var models []Model
	nodes := d.Nodes()
	for len(nodes) > 0 {
		st := nodes[0].Status
		n := slices.IndexFunc(nodes, func(n *Node) bool { return n.Status.Model != st.Model })
		if n < 0 {
			n = len(nodes)
		}
		m := Model{ID: st.Model, Name: st.ModelName, NLayers: layerCount(nodes[:n])}
		cands := candidates(nodes[:n], m.NLayers, "")
		m.Nodes, m.Missing, m.AtRisk = len(cands), placement.Missing(cands, m.NLayers), placement.AtRisk(cands, m.NLayers)
		models = append(models, m)
		nodes = nodes[n:]
	}
	slices.SortStableFunc(models, func(a, b Model) int { return cmp.Compare(a.Name, b.Name) })
	return models
}

// Model returns what is known of one model, and whether anybody serves it.
func (d *Directory) Model(id protocol.ModelID) (Model, bool) {
	models := d.Models()
	i := slices.IndexFunc(models, func(m Model) bool { return m.ID == id })
	if i < 0 {
		return Model{}, false
	}
	return models[i], true
}

// Candidates returns the nodes that serve a part of the model with the given numerics ID ("": any), for
// [placement.Route].
func (d *Directory) Candidates(id protocol.ModelID, numerics string) []placement.Candidate {
	nodes := slices.DeleteFunc(d.Nodes(), func(n *Node) bool { return n.Status.Model != id })
	return candidates(nodes, layerCount(nodes), numerics)
}

// layerCount is the number of layers most nodes of a model claim, the least such number. The model ID fixes it; a node
// that claims another is wrong and must not hide the rest.
func layerCount(nodes []*Node) int {
	votes := map[int]int{}
	best := 0
	for _, n := range nodes {
		votes[int(n.Status.NLayers)]++
	}
	for count, v := range votes {
		if v > votes[best] || v == votes[best] && count < best {
			best = count
		}
	}
	return best
}

func candidates(nodes []*Node, nLayers int, numerics string) []placement.Candidate {
	var cands []placement.Candidate
	for _, n := range nodes {
		st := n.Status
		if int(st.NLayers) != nLayers || numerics != "" && !slices.Contains(st.Numerics, numerics) {
			continue
		}
		cands = append(cands, placement.Candidate{
			Peer: st.Peer, Addrs: st.Addrs, Layers: st.Layers, StepCost: time.Duration(min(st.StepNanos, uint64(time.Hour))), RTT: n.RTT,
			Sessions: int(st.Sessions), MaxSessions: int(st.MaxSess), Draining: st.Draining || st.Loading,
			Context: int(st.Context), Asked: n.Asked,
		})
	}
	return cands
}

// clone returns a copy that shares the entries, which nobody changes.
func (d *Directory) clone() *Directory {
	return &Directory{ttl: d.ttl, nodes: maps.Clone(d.nodes), failed: maps.Clone(d.failed)}
}
