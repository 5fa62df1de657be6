// SPDX-License-Identifier: MIT

package engine

import (
	"slices"

	"go.uber.org/zap"

	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// page is the KV memory of [layers.PageRows] positions of a session. It counts from the moment when it is promised; memory comes with the
// first row. Guarded by Engine.mu, but for what is in it.
type page struct {
	memory     *layers.Page // nil: not needed yet
	refs       int          // sessions that have it, and one more if it is remembered
	remembered bool         // in Engine.prefixes
}

// fits reports whether there is KV memory for so many pages more; freed bytes are about to be returned. e.mu is held.
func (e *Engine) fits(pages int, freed int64) bool {
	return int64(pages) <= (e.cfg.KVBudget-e.kvUsed+freed)/e.pageBytes
}

// promise gives k pages for rows before end, for which there is room. e.mu is held.
func (e *Engine) promise(k *kv, end int) {
	for n := layers.PagesFor(end); len(k.pages) < n; {
		k.pages = append(k.pages, &page{refs: 1})
		e.kvUsed += e.pageBytes
	}
}

// hold makes sure that k has pages with memory for rows from position begin to end, and that nobody else has them: rows are about to be
// written. Where there is no room, pages that are only remembered are forgotten, and then the session that was opened last must go, so that
// the others can go on: its coordinator places it elsewhere, or waits. It returns false if that is k's own, which has ended then, or
// if those that would have to go are in the pass that is being put together. It runs in the step loop; e.mu is held.
func (e *Engine) hold(k *kv, begin, end int) bool {
	for ; k.published*layers.PageRows > begin; k.published-- {
		k.at = k.at.parent
	}
	first, n := begin/layers.PageRows, layers.PagesFor(end)
	missing := max(0, n-len(k.pages))
	for i := first; i < min(n, len(k.pages)); i++ {
		if k.pages[i].refs > 1 {
			missing++
		}
	}
	if missing > 0 && !e.makeRoom(k.owner, missing) {
		return false
	}
	e.promise(k, end)
	for i := first; i < n; i++ {
		e.own(k, i)
	}
	k.history = slices.Grow(k.history, max(0, n*layers.PageRows-len(k.history))) // decode allocates by the page
	return true
}

// own gives k's page i memory of its own.
func (e *Engine) own(k *kv, i int) {
	p := k.pages[i]
	switch {
	case p.memory == nil:
		p.memory = e.cfg.Model.NewPage()
		k.cache.Add(p.memory)
	case p.refs > 1:
		c := &page{memory: e.cfg.Model.NewPage(), refs: 1}
		c.memory.Copy(p.memory)
		e.kvUsed += e.pageBytes
		e.unref(p)
		k.pages[i] = c
		k.cache.Replace(i, c.memory)
	}
}

// makeRoom makes sure that there is room for pages more of owner's, as [Engine.hold] says.
func (e *Engine) makeRoom(owner *Session, pages int) bool {
	for !e.fits(pages, 0) {
		if e.evict() {
			continue
		}
		last := owner
		for _, s := range e.sessions {
			if s.born > last.born {
				last = s
			}
		}
		if last.kv.lent {
			return false
		}
		e.stats.refusals[protocol.CodeBusy]++
		e.cfg.Log.Info("session ended for lack of KV memory", zap.Stringer("session", last.id), zap.Uint32("rows", last.kv.rows))
		last.end(last.refuse(protocol.CodeBusy, "the node's KV memory is full and others were here before: open the session at another node, or again later"))
		if last == owner {
			return false
		}
	}
	return true
}
