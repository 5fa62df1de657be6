// SPDX-License-Identifier: MIT

package engine

import (
	"go.uber.org/zap"

	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// page is the KV memory of [layers.PageRows] positions of a session. It counts from the moment when it is promised; memory comes with the
// first row. Guarded by Engine.mu, but for what is in it.
type page struct {
	memory *layers.Page // nil: not needed yet
	refs   int          // sessions that have it
}

// unref takes a page from who has it. e.mu is held.
func (e *Engine) unref(p *page) {
	if p.refs--; p.refs > 0 {
		return
	}
	e.kvUsed -= e.pageBytes
	if p.memory != nil {
		p.memory.Close()
	}
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

// hold makes sure that k has pages with memory for rows before end. Where there is no room, the session that was opened last must go, so that
// the others can go on: its coordinator places it elsewhere, or waits. It returns false if that is k's own, which has ended then, or
// if those that would have to go are in the pass that is being put together. It runs in the step loop; e.mu is held.
func (e *Engine) hold(k *kv, end int) bool {
	owner := k.owner
	for missing := layers.PagesFor(end) - len(k.pages); missing > 0 && !e.fits(missing, 0); {
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
	e.promise(k, end)
	for i := len(k.cache.Pages()); i < layers.PagesFor(end); i++ {
		if k.pages[i].memory == nil {
			k.pages[i].memory = e.cfg.Model.NewPage()
		}
		k.cache.Add(k.pages[i].memory)
	}
	return true
}
