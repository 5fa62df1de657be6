// SPDX-License-Identifier: MIT

package solver

import "slices"

// Rows of a programme: the ways out of devices and coordinator, the ways in, room, layers, hops; then cuts.
func (p *simplex) in(j int) int    { return p.side + j }
func (p *simplex) roomy(i int) int { return 2*p.side + i }
func (p *simplex) layers() int     { return 2*p.side + p.n }
func (p *simplex) hops() int       { return p.layers() + 1 }
func (p *simplex) fixed() int      { return p.layers() + 2 }

// Columns: arcs by from and to, loops, extras; then a slack for each row.
func (p *simplex) arc(i, j int) int { return i*p.side + j }
func (p *simplex) loop(i int) int   { return p.side*p.side + i }
func (p *simplex) extra(i int) int  { return p.side*p.side + p.n + i }
func (p *simplex) columns() int     { return p.side*p.side + 2*p.n }

// equal reports whether a row has no slack.
func (p *simplex) equal(row int) bool { return row < 2*p.side || row == p.layers() }

func newSimplex(r *ring) *simplex {
	p := &simplex{n: r.n, side: r.n + 1}
	copies := float64(r.layers / r.model)
	p.room, p.first, p.final = make([]float64, r.n), make([]float64, r.n), make([]float64, r.n)
	work, end := make([]float64, r.n), make([]float64, r.n)
	for i := range r.n {
		p.first[i] = float64(r.last[i][0])
		for a, b := range r.last[i] {
			if a > 0 {
				p.room[i] = max(p.room[i], float64(min(b, r.layers-1)-a))
			}
			if b == r.layers {
				p.final[i] = max(p.final[i], float64(b-a))
			}
		}
		work[i] = float64(r.work[i][r.layers]) / float64(r.layers)
		if r.layers > 2 {
			work[i] = float64(r.work[i][r.layers-1]-r.work[i][1]) / float64(r.layers-2)
		}
		end[i] = float64(r.work[i][r.layers]-r.work[i][r.layers-1]) - work[i]
	}
	columns := p.columns()
	p.cost, p.place, p.row = make([]float64, columns), make([]int32, columns), make([]float64, columns)
	sum, many := 0.0, 0
	for i := range p.side {
		for j := range p.side {
			k := p.arc(i, j)
			p.place[k] = outside
			if i == j || r.link[i][j] >= inf || i == r.n && p.first[j] == 0 || j == r.n && p.final[i] == 0 {
				p.place[k] = never
				continue
			}
			p.cost[k] = float64(r.link[i][j])
			sum += p.cost[k]
			many++
			if j < r.n {
				p.cost[k] += float64(r.enter[j]) + work[j]
			} else {
				p.cost[k] += max(0, end[i])
			}
		}
	}
	for i := range r.n {
		p.place[p.loop(i)], p.place[p.extra(i)] = outside, outside
		p.cost[p.extra(i)] = work[i]
	}
	p.unit = max(1, sum/float64(max(1, many)))
	for k := range p.cost {
		p.cost[k] /= p.unit
	}
	p.reduced, p.into = slices.Clone(p.cost), make([]float64, r.n)
	p.rows = p.fixed()
	for range 2 * p.side {
		p.value = append(p.value, 1)
	}
	p.value[r.n], p.value[p.in(r.n)] = copies, copies
	for i := range r.n {
		p.value = append(p.value, p.room[i]-1)
	}
	p.value = append(p.value, float64(r.layers-r.n), float64(min(r.hops, r.layers)-r.n))
	p.price = make([]float64, p.rows)
	for k := range p.rows {
		p.basis = append(p.basis, columns+k)
		p.inverse = append(p.inverse, make([]float64, p.rows))
		p.inverse[k][k] = 1
		p.weight = append(p.weight, 1)
	}
	return p
}

// fill makes entries the column's.
func (p *simplex) fill(col int) {
	n, e := p.n, p.entries[:0]
	switch squares := p.side * p.side; {
	case col < squares:
		i, j := col/p.side, col%p.side
		e = append(e, entry{i, 1}, entry{p.in(j), 1})
		if i == n && p.first[j] != p.room[j] {
			e = append(e, entry{p.roomy(j), p.room[j] - p.first[j]})
		}
		if j == n && p.final[i] != p.room[i] {
			e = append(e, entry{p.roomy(i), p.room[i] - p.final[i]})
		}
		if j < n {
			for k := range p.cuts {
				if c := &p.cuts[k]; c.set[j] && (i == n || !c.set[i]) {
					e = append(e, entry{p.fixed() + k, -1})
				}
			}
		}
	case col < squares+n:
		i := col - squares
		e = append(e, entry{i, 1}, entry{p.in(i), 1}, entry{p.roomy(i), p.room[i] - 1}, entry{p.layers(), -1}, entry{p.hops(), -1})
		for k := range p.cuts {
			if p.cuts[k].device == i {
				e = append(e, entry{p.fixed() + k, -1})
			}
		}
	case col < squares+2*n:
		i := col - squares - n
		e = append(e, entry{p.roomy(i), 1}, entry{p.layers(), 1})
	default:
		e = append(e, entry{col - p.columns(), 1})
	}
	p.entries = e
}

// pivotRow computes a row of the inverse times all columns.
func (p *simplex) pivotRow(rho []float64) {
	n, side := p.n, p.side
	for i := range side {
		out, row := rho[i], p.row[i*side:(i+1)*side]
		for j := range row {
			row[j] = out + rho[p.side+j]
		}
	}
	for j := range n {
		if v := rho[p.roomy(j)]; v != 0 {
			p.row[p.arc(n, j)] += float64(v * (p.room[j] - p.first[j]))
			p.row[p.arc(j, n)] += float64(v * (p.room[j] - p.final[j]))
		}
	}
	layers, hops := rho[p.layers()], rho[p.hops()]
	for i := range n {
		room := rho[p.roomy(i)]
		p.row[p.loop(i)] = rho[i] + rho[p.in(i)] + float64(room*(p.room[i]-1)) - layers - hops
		p.row[p.extra(i)] = room + layers
	}
	clear(p.into)
	for k := range p.cuts {
		v := rho[p.fixed()+k]
		if v == 0 {
			continue
		}
		c := &p.cuts[k]
		p.row[p.loop(c.device)] -= v
		for _, j := range c.inside {
			p.into[j] += v
			row := p.row[j*side : (j+1)*side]
			for _, l := range c.inside {
				row[l] += v
			}
		}
	}
	for i := range side {
		row := p.row[i*side : (i+1)*side]
		for j, v := range p.into {
			row[j] -= v
		}
	}
}
