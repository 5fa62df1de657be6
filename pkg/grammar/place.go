// SPDX-License-Identifier: MIT

package grammar

import (
	"cmp"
	"encoding/binary"
	"errors"
	"slices"
)

// node is a call of a rule that has not returned: where to go on then, once for each way to read the text so far. Nodes with the same
// places to go on are one.
type node struct {
	id      int32 // 0: the text's own call of the root rule; -1: not finished
	depth   int32
	returns []config
}

// config is one way to read a text so far: a state, within a call.
type config struct {
	state int32
	node  *node
}

// place is where a text can be after some bytes: all configurations that have something to read next.
type place struct {
	configs []config
	accepts bool         // a text ends here
	cost    int          // configurations looked at to get here, whether or not anything was remembered
	next    *[256]*place // by byte; nil: not known yet, or the place is not remembered
	mask    []uint64     // tokens that may come; nil: not known yet
	loops   uint16       // classes whose bytes all lead back here, and loopsKnown; 0: not known yet
}

// dead is where a text is that no text of the grammar begins with.
var dead = &place{cost: 1}

// errTooMuch ends a generation whose grammar can be read in too many ways, or takes too long.
var errTooMuch = errors.New("grammar: a text can be read in too many ways, or following it takes too long: make the grammar simpler")

// explorer finds out where a text can be. It remembers places and calls it has seen.
type explorer struct {
	g      *Grammar
	root   *node
	ids    int32 // of the latest node
	nodes  map[string]*node
	places map[string]*place
	work   int // left for this token

	// Scratch of closure.
	todo    []config
	seen    map[config]bool
	pending map[int32]*node // calls that begin here, by rule
	key     []byte
}

func newExplorer(g *Grammar) *explorer {
	e := &explorer{g: g, root: &node{}, seen: map[config]bool{}, pending: map[int32]*node{}}
	e.forget()
	return e
}

// forget starts memory anew.
func (e *explorer) forget() {
	e.ids, e.nodes, e.places = 0, map[string]*node{}, map[string]*place{}
}

// begin is the place before a text.
func (e *explorer) begin() (*place, error) {
	e.todo = append(e.todo[:0], config{e.g.rules[e.g.root].start, e.root})
	return e.closure()
}

// after is the place that a byte leads to.
func (e *explorer) after(p *place, b byte) (*place, error) {
	if p.next != nil && p.next[b] != nil {
		return e.charged(p.next[b])
	}
	e.todo = e.todo[:0]
	for _, c := range p.configs {
		for i := range e.g.states[c.state].edges {
			if edge := &e.g.states[c.state].edges[i]; edge.kind == edgeBytes && edge.lo <= b && b <= edge.hi {
				e.todo = append(e.todo, config{edge.to, c.node})
			}
		}
	}
	to, err := e.closure()
	if err != nil {
		return nil, err
	}
	if p.next != nil {
		p.next[b] = to
	}
	return e.charged(to)
}

// charged takes what a place costs off the work that is left. It is the same for those who remember the place and those who do not: all
// of them must come to the same end.
func (e *explorer) charged(p *place) (*place, error) {
	if e.work -= p.cost; e.work < 0 {
		return nil, errTooMuch
	}
	return p, nil
}

// loopsKnown marks loops that were found out.
const loopsKnown = 1 << 15

// findLoops sets the place's loops.
func (e *explorer) findLoops(p *place) {
	work := e.work // what is only looked up early is not charged
	defer func() { e.work = work }()
	p.loops = loopsKnown | 1<<classes - 1
	for b := range 256 {
		if p.loops>>classOf[b]&1 == 0 {
			continue
		}
		if e.work = maxWork; p.next[b] == p {
			continue
		}
		if to, err := e.after(p, byte(b)); to != p || err != nil {
			p.loops &^= 1 << classOf[b]
		}
	}
}

// afterToken is the place that a control token leads to.
func (e *explorer) afterToken(p *place, token int32) (*place, error) {
	e.todo = e.todo[:0]
	for _, c := range p.configs {
		for _, edge := range e.g.states[c.state].edges {
			if edge.kind == edgeToken && edge.arg == token {
				e.todo = append(e.todo, config{edge.to, c.node})
			}
		}
	}
	return e.closure()
}

// closure follows todo along all edges that read nothing, into rules and out of them.
func (e *explorer) closure() (*place, error) {
	clear(e.seen)
	clear(e.pending)
	accepts := false
	for len(e.todo) > 0 {
		c := e.todo[len(e.todo)-1]
		e.todo = e.todo[:len(e.todo)-1]
		if e.seen[c] {
			continue
		}
		e.seen[c] = true
		if len(e.seen) > maxConfigs {
			return nil, errTooMuch
		}
		s := &e.g.states[c.state]
		for _, edge := range s.edges {
			switch edge.kind {
			case edgeEmpty:
				e.todo = append(e.todo, config{edge.to, c.node})
			case edgeCall:
				e.call(c.node, edge)
			case edgeBytes, edgeToken:
			}
		}
		if e.g.rules[s.rule].end != c.state {
			continue
		}
		if c.node == e.root {
			accepts = true
		}
		e.todo = append(e.todo, c.node.returns...) // of a call that began here and read nothing: its caller goes on already, see call
	}
	return e.remember(accepts), nil
}

// call enters a rule. One that can be empty also returns at once.
func (e *explorer) call(from *node, edge edge) {
	r := &e.g.rules[edge.arg]
	n := e.pending[edge.arg]
	if n == nil {
		n = &node{id: -1}
		e.pending[edge.arg] = n
		e.todo = append(e.todo, config{r.start, n})
	}
	if r.nullable {
		e.todo = append(e.todo, config{edge.to, from})
	}
	if from.id > 0 && e.g.states[edge.to].last {
		// Nothing follows in the caller: what returns to it returns to its own callers. Lists that call themselves do not nest.
		n.returns = append(n.returns, from.returns...)
		return
	}
	n.returns = append(n.returns, config{edge.to, from})
}

// finish replaces a call that began here by the one of its kind. nil: it lies too deep.
func (e *explorer) finish(n *node) *node {
	if n.id >= 0 {
		return n
	}
	for i := range n.returns {
		if n.returns[i].node = e.finish(n.returns[i].node); n.returns[i].node == nil {
			n.returns[i].state = -1
		}
	}
	n.returns = slices.DeleteFunc(n.returns, func(c config) bool { return c.state < 0 })
	if len(n.returns) == 0 {
		return nil
	}
	return e.nodeOf(n.returns)
}

// nodeOf returns the call with these places to go on.
func (e *explorer) nodeOf(returns []config) *node {
	returns = e.sorted(returns)
	if n := e.nodes[string(e.key)]; n != nil {
		return n
	}
	depth := int32(0)
	for _, c := range returns {
		depth = max(depth, c.node.depth+1)
	}
	if depth > maxDepth {
		return nil
	}
	if len(e.nodes) >= maxNodes {
		clear(e.nodes)
	}
	e.ids++
	n := &node{id: e.ids, depth: depth, returns: slices.Clone(returns)}
	e.nodes[string(e.key)] = n
	return n
}

// sorted orders configurations, drops those that are there twice, and leaves what names them in key.
func (e *explorer) sorted(list []config) []config {
	slices.SortFunc(list, func(a, b config) int {
		return cmp.Or(cmp.Compare(a.state, b.state), cmp.Compare(a.node.id, b.node.id))
	})
	list = slices.Compact(list)
	e.key = e.key[:0]
	for _, c := range list {
		e.key = binary.LittleEndian.AppendUint32(e.key, uint32(c.state))
		e.key = binary.LittleEndian.AppendUint32(e.key, uint32(c.node.id))
	}
	return list
}

// remember makes a place of what closure has seen.
func (e *explorer) remember(accepts bool) *place {
	var list []config
	finished := map[*node]*node{}
	for c := range e.seen {
		if !e.g.states[c.state].reads {
			continue
		}
		n, known := finished[c.node]
		if !known {
			n = e.finish(c.node)
			finished[c.node] = n
		}
		if n != nil {
			list = append(list, config{c.state, n})
		}
	}
	return e.placeOf(list, accepts, max(len(e.seen), 1))
}

func (e *explorer) placeOf(list []config, accepts bool, cost int) *place {
	if len(list) == 0 && !accepts {
		return dead
	}
	list = e.sorted(list)
	e.key = append(e.key, '.')
	if accepts {
		e.key = append(e.key, '!')
	}
	if p := e.places[string(e.key)]; p != nil {
		return p
	}
	p := &place{configs: list, accepts: accepts, cost: cost}
	if len(e.places) < maxPlaces {
		p.next = new([256]*place)
		e.places[string(e.key)] = p
	}
	return p
}

// moved makes a place anew, in a memory that holds nothing else.
func (e *explorer) moved(p *place) *place {
	copies := map[*node]*node{e.root: e.root}
	var move func(n *node) *node
	move = func(n *node) *node {
		if c := copies[n]; c != nil {
			return c
		}
		returns := make([]config, len(n.returns))
		for i, c := range n.returns {
			returns[i] = config{c.state, move(c.node)}
		}
		c := e.nodeOf(returns)
		copies[n] = c
		return c
	}
	e.forget()
	list := make([]config, len(p.configs))
	for i, c := range p.configs {
		list[i] = config{c.state, move(c.node)}
	}
	return e.placeOf(list, p.accepts, p.cost)
}
