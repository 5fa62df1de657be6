// SPDX-License-Identifier: MIT

package engine

import (
	"container/list"
	"fmt"
	"slices"
	"strings"

	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// prefixes remembers pages of sessions, so that one that begins with the same tokens need not compute them again: its rows would be the same,
// bit for bit. Pages are found by the tokens of their rows and of all rows before. Which sessions share them at all, see [prefixKey].
// Guarded by Engine.mu.
type prefixes struct {
	roots   map[prefixKey]*prefix
	recent  *list.List // of *prefix, the one used last in front; none comes before the one that it continues
	idle    int        // pages that no session has
	outputs int64      // bytes of outputs that no session has
}

// prefixKey is what rows depend on beside the tokens, and whom they are trusted for. A shard does not know whether hidden states that come
// are those of the tokens they come with. So rows are only used again for the same peer, which could have sent anything, and behind the
// same hops, which could have computed anything: these it would ask again anyway. See docs/adr/014.
type prefixKey struct {
	peer   string // who opens the sessions
	before string // the hops that rows pass before this one
	layers protocol.LayerRange
	wire   protocol.DType
	rounds string
}

// prefix is a page that is remembered, or the root of all with a key, which has none.
type prefix struct {
	parent   *prefix // nil: a root
	children []*prefix
	key      prefixKey          // of a root
	tokens   []protocol.TokenID // of the page's rows; less than a page's: no more rows of it are known
	page     *page
	outputs  []*block // kept of the rows, as far as they were
	kept     int      // rows of outputs
	place    *list.Element
}

func newPrefixes() prefixes { return prefixes{roots: make(map[prefixKey]*prefix), recent: list.New()} }

func prefixKeyOf(from string, o *protocol.Open) prefixKey {
	var before strings.Builder
	if o.Path == protocol.PathRelay && o.Index > 0 {
		before.WriteString("the coordinator itself")
	}
	for _, h := range o.Route[:o.Index] {
		fmt.Fprintf(&before, " %s %s", h.Peer, h.Layers)
	}
	return prefixKey{peer: from, before: before.String(), layers: o.Route[o.Index].Layers, wire: o.Wire, rounds: fmt.Sprint(o.Rounds)}
}

// find gives the fresh k the rows that are remembered of o's prefix. Where there is room for a copy of it, also those of a page that they fill
// in part. e.mu is held.
func (e *Engine) find(k *kv, o *protocol.Open) {
	at := e.prefixes.roots[k.key]
	tokens := o.Prefix[:min(len(o.Prefix), int(o.Positions))]
	outputs := true
	for at != nil && len(tokens) > 0 {
		next, n := at.continuation(tokens)
		if n == 0 {
			break
		}
		p := next.page
		if n == layers.PageRows {
			e.ref(p)
			at = next
			k.published++
			k.at = at
		} else {
			if !e.fits(1, 0) { // none is given up for this
				break
			}
			p = &page{refs: 1, memory: e.cfg.Model.NewPage()}
			p.memory.Copy(next.page.memory)
			e.kvUsed += e.pageBytes
			at = nil
		}
		k.pages = append(k.pages, p)
		k.cache.Add(p.memory)
		k.history = append(k.history, tokens[:n]...)
		if k.kept != nil && outputs {
			e.share(k.kept, next.outputs, min(n, next.kept))
			outputs = n == next.kept
		}
		tokens = tokens[n:]
		e.touch(next)
	}
	k.rows = uint32(len(k.history))
	if k.kept != nil {
		k.outputs = k.kept.rows
	}
	if err := k.cache.Adopt(k.kind.layers, int(k.rows)); err != nil {
		panic(err) // there are pages for all
	}
}

// continuation returns the child that shares the most tokens, and how many.
func (p *prefix) continuation(tokens []protocol.TokenID) (best *prefix, n int) {
	for _, c := range p.children {
		m := 0
		for m < min(len(c.tokens), len(tokens)) && c.tokens[m] == tokens[m] {
			m++
		}
		if m > n {
			best, n = c, m
		}
	}
	return best, n
}

// publish remembers the pages of k that are full, and where the session has come to its end, the rest. It runs in the step loop, or when that does
// not use k. e.mu is held.
func (e *Engine) publish(k *kv, end bool) {
	if e.cfg.PrefixCache <= 0 || k.private {
		return
	}
	rows := min(int(k.rows), len(k.history))
	for {
		first := k.published * layers.PageRows
		n := min(rows-first, layers.PageRows)
		if n <= 0 || n < layers.PageRows && !end {
			return
		}
		if k.published == 0 {
			k.at = e.root(k.key)
		}
		at := e.remember(k, k.at, k.published, k.history[first:first+n])
		if n < layers.PageRows {
			return
		}
		k.at = at
		k.published++
	}
}

// root returns what all pages with a key continue, which is forgotten when there are none.
func (e *Engine) root(key prefixKey) *prefix {
	root := e.prefixes.roots[key]
	if root == nil {
		root = &prefix{key: key}
		e.prefixes.roots[key] = root
	}
	return root
}

// remember makes page i of k, which continues parent with tokens, one of the pages remembered; or k has the one from now on that is already.
func (e *Engine) remember(k *kv, parent *prefix, i int, tokens []protocol.TokenID) *prefix {
	known, n := parent.continuation(tokens)
	switch {
	case n == len(tokens):
		if n == layers.PageRows { // the same bits
			e.swap(k, i, known.page)
		}
		e.touch(known)
		return known
	case n > 0 && n == len(known.tokens):
		e.forgetPage(known) // has a part of what is known now
	default:
		known = &prefix{parent: parent}
		parent.children = append(parent.children, known)
		known.place = e.prefixes.recent.PushFront(known)
	}
	known.tokens = slices.Clone(tokens)
	known.page = k.pages[i]
	known.page.remembered = true
	known.page.refs++
	if k.kept != nil {
		known.outputs, known.kept = e.lend(k.kept, i*layers.PageRows, len(tokens))
	}
	e.touch(known)
	return known
}

// swap gives k another page in place of its own that holds the same. k is lent to the step loop, or not in use.
func (e *Engine) swap(k *kv, i int, p *page) {
	if k.pages[i] == p {
		return
	}
	e.unref(k.pages[i])
	e.ref(p)
	k.pages[i] = p
	k.cache.Replace(i, p.memory)
}

// touch notes that p was used, and with it what comes before.
func (e *Engine) touch(p *prefix) {
	for ; p.parent != nil; p = p.parent {
		e.prefixes.recent.MoveToFront(p.place)
	}
}

// ref and unref count who has a page. e.mu is held.
func (e *Engine) ref(p *page) {
	if p.refs == 1 && p.remembered {
		e.prefixes.idle--
	}
	p.refs++
}

func (e *Engine) unref(p *page) {
	switch p.refs--; {
	case p.refs == 1 && p.remembered:
		e.prefixes.idle++
	case p.refs == 0:
		e.kvUsed -= e.pageBytes
		if p.memory != nil {
			p.memory.Close()
		}
	}
}

// forgetPage takes from p what it remembers.
func (e *Engine) forgetPage(p *prefix) {
	if p.page.refs == 1 {
		e.prefixes.idle--
	}
	p.page.remembered = false
	e.unref(p.page)
	e.forgetOutputs(p)
	p.page, p.tokens = nil, nil
}

// forgetOutputs takes the outputs from p: who has its page then computes them again when they are needed.
func (e *Engine) forgetOutputs(p *prefix) {
	for _, b := range p.outputs {
		e.have(b, -1, -1)
	}
	p.outputs, p.kept = nil, 0
}

// evictOutputs forgets the outputs that were not used for longest, of pages that no session has. It reports whether there were some.
func (e *Engine) evictOutputs() bool {
	for el := e.prefixes.recent.Back(); el != nil; el = el.Prev() {
		if p := el.Value.(*prefix); len(p.outputs) > 0 && p.page.refs == 1 {
			e.forgetOutputs(p)
			return true
		}
	}
	return false
}

// evict forgets the page that was not used for longest, of those that no session has and none continues. It reports whether there was one.
func (e *Engine) evict() bool {
	if e.prefixes.idle == 0 {
		return false
	}
	for el := e.prefixes.recent.Back(); el != nil; el = el.Prev() {
		p := el.Value.(*prefix)
		if len(p.children) > 0 || p.page.refs > 1 {
			continue
		}
		e.forget(p)
		return true
	}
	return false
}

// forget takes p, which nothing continues, out of the pages remembered.
func (e *Engine) forget(p *prefix) {
	e.forgetPage(p)
	e.prefixes.recent.Remove(p.place)
	parent := p.parent
	i := slices.Index(parent.children, p)
	parent.children = slices.Delete(parent.children, i, i+1)
	if parent.parent == nil && len(parent.children) == 0 {
		delete(e.prefixes.roots, parent.key)
	}
}

// trim forgets what is more than the cache may hold.
func (e *Engine) trim() {
	for int64(e.prefixes.idle)*e.pageBytes > e.cfg.PrefixCache && e.evict() {
	}
}

// forgetAll forgets all pages. No session is open.
func (e *Engine) forgetAll() {
	for el := e.prefixes.recent.Back(); el != nil; el = e.prefixes.recent.Back() {
		e.forget(el.Value.(*prefix)) // none continues the one at the back
	}
}
