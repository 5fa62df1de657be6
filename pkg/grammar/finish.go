// SPDX-License-Identifier: MIT

package grammar

import (
	"fmt"
	"slices"
)

// finish works out what rules can derive, cuts off what leads nowhere, and refuses what no matcher could follow.
func (g *Grammar) finish(names []string) error {
	ends := g.leads(true)
	if !ends[g.rules[g.root].start] {
		return errNoText
	}
	empty := g.leads(false)
	for i := range g.rules {
		g.rules[i].nullable = empty[g.rules[i].start]
	}
	for i := range g.states {
		s := &g.states[i]
		s.edges = slices.DeleteFunc(s.edges, func(e edge) bool {
			return !ends[e.to] || e.kind == edgeCall && !ends[g.rules[e.arg].start]
		})
		s.reads = slices.ContainsFunc(s.edges, func(e edge) bool { return e.kind == edgeBytes || e.kind == edgeToken })
	}
	for i := range g.states {
		g.states[i].last = g.isLast(int32(i))
	}
	return g.refuseLeftRecursion(names)
}

// isLast reports whether a state has nothing but a way to its rule's end that reads nothing. It does not follow long ways.
func (g *Grammar) isLast(s int32) bool {
	for range 16 {
		switch edges := g.states[s].edges; {
		case len(edges) == 0:
			return true
		case len(edges) > 1 || edges[0].kind != edgeEmpty:
			return false
		default:
			s = edges[0].to
		}
	}
	return false
}

// leads returns the states from which the end of their rule can be reached: by any text, or by the empty one.
func (g *Grammar) leads(reading bool) []bool {
	type arrow struct {
		from int32
		rule int32 // that has to reach its own end first; -1: none
	}
	back := make([][]arrow, len(g.states))
	calls := make([][]edge, len(g.rules)) // of each rule: to is where the call returns to, arg who calls
	for from := range g.states {
		for _, e := range g.states[from].edges {
			switch e.kind {
			case edgeBytes, edgeToken:
				if reading {
					back[e.to] = append(back[e.to], arrow{int32(from), -1})
				}
			case edgeCall:
				back[e.to] = append(back[e.to], arrow{int32(from), e.arg})
				calls[e.arg] = append(calls[e.arg], edge{arg: int32(from), to: e.to})
			case edgeEmpty:
				back[e.to] = append(back[e.to], arrow{int32(from), -1})
			}
		}
	}
	reached := make([]bool, len(g.states))
	var work []int32
	reach := func(s int32) {
		if !reached[s] {
			reached[s] = true
			work = append(work, s)
		}
	}
	for _, r := range g.rules {
		reach(r.end)
	}
	for len(work) > 0 {
		s := work[len(work)-1]
		work = work[:len(work)-1]
		for _, a := range back[s] {
			if a.rule < 0 || reached[g.rules[a.rule].start] {
				reach(a.from)
			}
		}
		if r := g.states[s].rule; g.rules[r].start == s {
			for _, c := range calls[r] {
				if reached[c.to] {
					reach(c.arg)
				}
			}
		}
	}
	return reached
}

// refuseLeftRecursion refuses rules that call themselves before anything is read: a matcher would call them for ever.
func (g *Grammar) refuseLeftRecursion(names []string) error {
	const (
		unseen = iota
		open
		closed
	)
	seen := make([]uint8, len(g.rules))
	var visit func(r int32) error
	visit = func(r int32) error {
		switch seen[r] {
		case open:
			return fmt.Errorf("grammar: rule %s begins with itself: no text comes nearer to its end", names[r])
		case closed:
			return nil
		}
		seen[r] = open
		for _, called := range g.begins(r) {
			if err := visit(called); err != nil {
				return err
			}
		}
		seen[r] = closed
		return nil
	}
	for r := range g.rules {
		if err := visit(int32(r)); err != nil {
			return err
		}
	}
	return nil
}

// begins lists the rules that r may call before it reads anything.
func (g *Grammar) begins(r int32) []int32 {
	var list []int32
	seen := map[int32]bool{}
	work := []int32{g.rules[r].start}
	for len(work) > 0 {
		s := work[len(work)-1]
		work = work[:len(work)-1]
		if seen[s] {
			continue
		}
		seen[s] = true
		for _, e := range g.states[s].edges {
			switch e.kind {
			case edgeEmpty:
				work = append(work, e.to)
			case edgeCall:
				list = append(list, e.arg)
				if g.rules[e.arg].nullable {
					work = append(work, e.to)
				}
			case edgeBytes, edgeToken:
			}
		}
	}
	return list
}
