// SPDX-License-Identifier: MIT

package solver

import (
	"math"
	"slices"
)

// simplex is a linear programme whose prices make the relaxation's bound high: a ring without an order of layers, whose devices are
// used in parts. Its variables are not below zero: arcs between devices (by how much the way takes them), loops (how much of a device is not
// used), and extras (layers of a device beside its first). Its rows: each device, and the coordinator, is left once and entered once, a loop
// counting as both; extras need room; layers are as many as the model's; and cuts. The dual simplex method solves it, with an inverse of
// the basis, and goes on from where it was when cuts are added. It is floating point and may be wrong: what it says is taken for advice.
type simplex struct {
	n, side int     // devices; and the coordinator
	unit    float64 // cost units in one of the programme

	room, first, final []float64 // layers that a device takes between others, behind the coordinator, and before it

	cuts []cut
	rows int

	cost    []float64 // of a column, and ...
	reduced []float64 // ... less what the rows' prices pay of it
	price   []float64 // of a row
	place   []int32   // of a column in the basis, or outside or never

	basis   []int       // columns
	inverse [][]float64 // of the basis
	value   []float64   // of the basis' columns
	weight  []float64   // of the inverse's rows: sum of squares

	row     []float64 // of the pivot, by column
	slack   []int     // rows that are not zero in the pivot's row of the inverse
	into    []float64 // by device: what cuts add
	entries []entry
	column  []float64
	spent   int // numbers looked at
}

// entry is one coefficient of a column.
type entry struct {
	row   int
	value float64
}

const (
	outside     = -1 // of the basis
	never       = -2 // to enter it
	tiny        = 1e-9
	outOfBounds = 1e-7
	workPerNode = 900 // numbers that count as one search node
)

// solve goes on until no basic value is out of its bounds, and reports whether it got there.
func (p *simplex) solve(e *effort) bool {
	for {
		// Leaves: what is farthest out of bounds, measured along its edge.
		r, worst := -1, 0.0
		for k, v := range p.value {
			if v < -outOfBounds || v > outOfBounds && p.basis[k] >= p.columns() && p.equal(p.basis[k]-p.columns()) {
				if w := v * v / p.weight[k]; w > worst {
					r, worst = k, w
				}
			}
		}
		if r < 0 {
			return true
		}
		p.spent = 0
		if !p.pivot(r) || !e.spend(p.spent/workPerNode) {
			return false
		}
	}
}

// pivot makes the basis' column r leave it. It reports whether another one could enter.
func (p *simplex) pivot(r int) bool {
	rho := p.inverse[r]
	p.pivotRow(rho)
	p.slack = p.slack[:0]
	for k, v := range rho {
		if v != 0 {
			p.slack = append(p.slack, k)
		}
	}
	sign := 1.0 // of the coefficients wanted
	if p.value[r] < 0 {
		sign = -1
	}
	columns := p.columns()
	enter, least, size := -1, math.Inf(1), 0.0
	for k, v := range p.row {
		if v *= sign; v > tiny && p.place[k] == outside {
			if t := max(0, p.reduced[k]) / v; t < least-1e-12 || t <= least+1e-12 && v > size {
				enter, least, size = k, min(t, least), v
			}
		}
	}
	for _, k := range p.slack {
		if p.equal(k) {
			continue
		}
		if v := sign * rho[k]; v > tiny && p.outsideSlack(k) {
			if t := max(0, -p.price[k]) / v; t < least-1e-12 || t <= least+1e-12 && v > size {
				enter, least, size = columns+k, min(t, least), v
			}
		}
	}
	if enter < 0 {
		return false
	}
	alpha, d := 0.0, 0.0
	if enter < columns {
		alpha, d = p.row[enter], p.reduced[enter]
	} else {
		alpha, d = rho[enter-columns], -p.price[enter-columns]
	}
	theta := d / alpha
	for k, v := range p.row {
		p.reduced[k] -= float64(theta * v)
	}
	for _, k := range p.slack {
		p.price[k] += float64(theta * rho[k])
	}
	p.fill(enter)
	p.column = p.column[:0]
	for k := range p.inverse {
		v := 0.0
		for _, e := range p.entries {
			v += float64(p.inverse[k][e.row] * e.value)
		}
		p.column = append(p.column, v)
	}
	p.update(r, enter)
	return true
}

func (p *simplex) outsideSlack(row int) bool {
	return p.price[row] != 0 || !slices.Contains(p.basis, p.columns()+row)
}

// update exchanges the basis' column r.
func (p *simplex) update(r, enter int) {
	rho := p.inverse[r]
	by := 1 / p.column[r]
	sum := 0.0
	for _, k := range p.slack {
		rho[k] = float64(rho[k] * by)
		sum += float64(rho[k] * rho[k])
	}
	p.weight[r] = sum
	p.value[r] = float64(p.value[r] * by)
	for i, f := range p.column {
		if i == r || math.Abs(f) < 1e-12 {
			continue
		}
		row, change := p.inverse[i], 0.0
		for _, k := range p.slack {
			old := row[k]
			v := old - float64(f*rho[k])
			if math.Abs(v) < 1e-13 {
				v = 0
			}
			row[k] = v
			change += float64(v*v) - float64(old*old)
		}
		p.weight[i] = max(1e-6, p.weight[i]+change)
		p.value[i] -= float64(f * p.value[r])
		p.spent += len(p.slack)
	}
	p.spent += len(p.row) * 3
	if old := p.basis[r]; old < p.columns() {
		p.place[old] = outside
	}
	if enter < p.columns() {
		p.place[enter] = int32(r)
		p.reduced[enter] = 0
	}
	p.basis[r] = enter
}

// add adds a cut. Its slack comes into the basis.
func (p *simplex) add(c cut) {
	p.cuts = append(p.cuts, c)
	row := make([]float64, p.rows+1)
	value := -1.0
	for k, col := range p.basis {
		v := 0.0 // coefficient in the cut
		switch squares := p.side * p.side; {
		case col < squares:
			if i, j := col/p.side, col%p.side; j < p.n && c.set[j] && (i == p.n || !c.set[i]) {
				v = -1
			}
		case col == p.loop(c.device):
			v = -1
		}
		if v == 0 {
			continue
		}
		for m, w := range p.inverse[k] {
			row[m] -= float64(v * w)
		}
		value -= float64(v * p.value[k])
	}
	row[p.rows] = 1
	for k := range p.inverse {
		p.inverse[k] = append(p.inverse[k], 0)
	}
	sum := 0.0
	for _, v := range row {
		sum += float64(v * v)
	}
	p.inverse = append(p.inverse, row)
	p.weight = append(p.weight, sum)
	p.value = append(p.value, value)
	p.basis = append(p.basis, p.columns()+p.rows)
	p.price = append(p.price, 0)
	p.rows++
}

// purge takes out the cuts that are not tight.
func (p *simplex) purge() {
	columns := p.columns()
	for k := len(p.basis) - 1; k >= 0; k-- {
		row := p.basis[k] - columns
		if row < p.fixed() || p.value[k] < 0.05 {
			continue
		}
		p.basis = slices.Delete(p.basis, k, k+1)
		p.inverse = slices.Delete(p.inverse, k, k+1)
		p.value = slices.Delete(p.value, k, k+1)
		p.weight = slices.Delete(p.weight, k, k+1)
		for m := range p.inverse {
			p.inverse[m] = slices.Delete(p.inverse[m], row, row+1)
		}
		p.price = slices.Delete(p.price, row, row+1)
		p.cuts = slices.Delete(p.cuts, row-p.fixed(), row-p.fixed()+1)
		for m, col := range p.basis {
			if col > columns+row {
				p.basis[m]--
			}
		}
		for m, col := range p.basis {
			if col < columns {
				p.place[col] = int32(m)
			}
		}
		p.rows--
	}
}

// objective is the programme's value, in cost units.
func (p *simplex) objective() float64 {
	sum := 0.0
	for k, col := range p.basis {
		if col < p.columns() {
			sum += float64(p.cost[col] * p.value[k])
		}
	}
	return sum * p.unit
}

// mean writes how much of each arc is used.
func (p *simplex) mean(out []float64) {
	clear(out)
	for k, col := range p.basis {
		if col < p.side*p.side {
			out[col] = max(0, p.value[k])
		}
	}
}
