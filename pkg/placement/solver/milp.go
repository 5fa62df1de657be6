// SPDX-License-Identifier: MIT

package solver

import (
	"fmt"
	"math/big"
)

// milp is an instance as a mixed-integer linear programme, as WriteLP and WriteMPS write it. Its objective is in milliseconds, of
// Patented its sum. x_i_l: device i has layer l. y_i_j_l: layer l-1 is on device i and layer l on j. z: the longest stage.
//
// Only x is binary: it leaves the others no choice. A layer's device is where the flow y goes through, so x and y are one path from the first layer to the last. A path enters a device
// once at the most, so each has one contiguous range; of Patented it may come back.
type milp struct {
	vars []variable
	rows []row
}

type variable struct {
	name   string
	cost   string // decimal; "": 0
	binary bool   // else any number from 0
}

type row struct {
	name  string
	sense byte // L, G or E
	right string
	terms []term
}

type term struct {
	coefficient string
	variable    int
}

// maxVariables bounds what is written: a file of about a gigabyte.
const maxVariables = 4 << 20

// programme builds it.
func programme(in *Instance) (*milp, error) {
	if err := in.validate(); err != nil {
		return nil, err
	}
	c := compile(in)
	if v := c.ring.n * c.ring.n * c.ring.layers; v > maxVariables {
		return nil, fmt.Errorf("the programme has %d variables, at most %d are written: take fewer devices or layers", v, maxVariables)
	}
	b := &builder{c: c, r: c.ring, m: &milp{}}
	if in.Objective == Patented {
		b.patent = newPatent(c)
	}
	b.variables()
	b.paths()
	b.limits()
	b.stages()
	return b.m, nil
}

// builder builds a milp.
type builder struct {
	c      *compiled
	r      *ring
	m      *milp
	patent *patent // nil: of another objective
	x      [][]int // [n][layers]: variables
	y      [][][]int
	z      int     // -1: there is none
	total  []term  // what a way costs, in ms: of objectives with stages
	once   [][]int // per device: the variables that are 1 when the path enters it
}

// decimal writes units as milliseconds, exactly.
func decimal(units int64, scale float64) string {
	v := new(big.Rat).SetFrac64(units, 1)
	v.Mul(v, big.NewRat(1000, 1)).Quo(v, new(big.Rat).SetInt64(int64(scale)))
	s := v.FloatString(12)
	for s[len(s)-1] == '0' {
		s = s[:len(s)-1]
	}
	if s[len(s)-1] == '.' {
		s = s[:len(s)-1]
	}
	return s
}

func (b *builder) add(name string, cost int64, scale float64, binary bool) int {
	v := variable{name: name, binary: binary}
	if cost != 0 {
		v.cost = decimal(cost, scale)
	}
	b.m.vars = append(b.m.vars, v)
	return len(b.m.vars) - 1
}

func (b *builder) row(name string, sense byte, right string, terms ...term) {
	b.m.rows = append(b.m.rows, row{name, sense, right, terms})
}

// staged reports whether the objective is the longest stage.
func (b *builder) staged() bool {
	return b.c.in.Objective == Throughput || b.c.in.Objective == Balanced
}

// variables makes all variables with their costs. A cost that belongs to a stage's objective goes to total instead.
func (b *builder) variables() {
	r, scale := b.r, b.c.scale
	divisor := float64(b.c.in.replicas())
	cost := func(name string, units int64, binary bool) int {
		if !b.staged() {
			return b.add(name, units, scale*divisor, binary)
		}
		v := b.add(name, 0, scale, binary)
		if units != 0 {
			b.total = append(b.total, term{decimal(units, scale), v})
		}
		return v
	}
	b.once = make([][]int, r.n)
	for i := range r.n {
		b.x = append(b.x, make([]int, r.layers))
		for l := range r.layers {
			units := r.work[i][l+1] - r.work[i][l]
			switch {
			case b.patent != nil:
				scale, units = b.patent.scale, b.patent.extra/int64(r.layers)
				if c := b.patent.cost[l][i]; c < inf {
					units += c
				}
			case l == 0:
				units += b.link(r.n, i) + r.enter[i]
			}
			if b.patent == nil && l == r.layers-1 {
				units += b.link(i, r.n)
			}
			b.x[i][l] = cost(fmt.Sprintf("x_%d_%d", i, l), units, true)
		}
		b.once[i] = append(b.once[i], b.x[i][0])
	}
	b.y = make([][][]int, r.n)
	for i := range r.n {
		b.y[i] = make([][]int, r.n)
		for j := range r.n {
			b.y[i][j] = make([]int, r.layers)
			for l := 1; l < r.layers; l++ {
				var units int64
				switch {
				case b.patent != nil:
					if units = b.patent.link[i][j]; units >= inf {
						units = 0
					}
				case i != j || l%r.model == 0:
					units = r.enter[j]
					if l%r.model == 0 {
						units += b.link(i, r.n) + b.link(r.n, j)
					} else {
						units += b.link(i, j)
					}
				}
				b.y[i][j][l] = cost(fmt.Sprintf("y_%d_%d_%d", i, j, l), units, false)
				if i != j {
					b.once[j] = append(b.once[j], b.y[i][j][l])
				}
			}
		}
	}
	b.z = -1
	if b.staged() {
		b.z = b.add("z", 1, 1000, false)
	}
}

// link is a link's cost, 0 where it must not be used: rows forbid that.
func (b *builder) link(i, j int) int64 {
	if b.r.link[i][j] >= inf {
		return 0
	}
	return b.r.link[i][j]
}

func terms(coefficient string, variables ...int) []term {
	out := make([]term, len(variables))
	for k, v := range variables {
		out[k] = term{coefficient, v}
	}
	return out
}

// paths makes rows for one path through the layers.
func (b *builder) paths() {
	r := b.r
	for l := range r.layers {
		var on []int
		for i := range r.n {
			on = append(on, b.x[i][l])
		}
		b.row(fmt.Sprintf("layer_%d", l), 'E', "1", terms("1", on...)...)
		if l == 0 {
			continue
		}
		for i := range r.n {
			var out, in []int
			for j := range r.n {
				out, in = append(out, b.y[i][j][l]), append(in, b.y[j][i][l])
			}
			b.row(fmt.Sprintf("out_%d_%d", i, l), 'E', "0", append(terms("1", out...), term{"-1", b.x[i][l-1]})...)
			b.row(fmt.Sprintf("in_%d_%d", i, l), 'E', "0", append(terms("1", in...), term{"-1", b.x[i][l]})...)
		}
	}
	for i := range r.n {
		for j := range r.n {
			for l := 1; l < r.layers; l++ {
				if b.never(i, j, l) {
					b.row(fmt.Sprintf("never_%d_%d_%d", i, j, l), 'E', "0", term{"1", b.y[i][j][l]})
				}
			}
		}
		if b.patent != nil {
			continue
		}
		b.row(fmt.Sprintf("once_%d", i), 'L', "1", terms("1", b.once[i]...)...)
		if r.link[r.n][i] >= inf {
			b.row(fmt.Sprintf("nofirst_%d", i), 'E', "0", term{"1", b.x[i][0]})
		}
		if r.link[i][r.n] >= inf {
			b.row(fmt.Sprintf("nolast_%d", i), 'E', "0", term{"1", b.x[i][r.layers-1]})
		}
	}
}

// never reports whether a path must not go from device i to j at layer l.
func (b *builder) never(i, j, l int) bool {
	r := b.r
	switch {
	case b.patent != nil:
		return b.patent.link[i][j] >= inf
	case l%r.model == 0:
		return i == j || r.link[i][r.n] >= inf || r.link[r.n][j] >= inf
	}
	return i != j && r.link[i][j] >= inf
}

// limits makes rows for memory, pinned ranges and the number of devices.
func (b *builder) limits() {
	r, in := b.r, b.c.in
	var entries []int
	for i := range r.n {
		d := &in.Devices[b.c.devices[i]]
		var memory []term
		for l := range r.layers {
			memory = append(memory, term{mebibytes(in.need(l % r.model)), b.x[i][l]})
		}
		room := d.Memory
		if b.patent != nil {
			room = b.patent.room[i]
		}
		b.row(fmt.Sprintf("memory_%d", i), 'L', mebibytes(room), memory...)
		b.pin(i, d)
		if b.patent == nil {
			entries = append(entries, b.once[i]...)
		} else {
			u := b.add(fmt.Sprintf("u_%d", i), 0, 1, false)
			for l := range r.layers {
				b.row(fmt.Sprintf("uses_%d_%d", i, l), 'L', "0", term{"1", b.x[i][l]}, term{"-1", u})
				if b.patent.cost[l][i] >= inf {
					b.row(fmt.Sprintf("not_%d_%d", i, l), 'E', "0", term{"1", b.x[i][l]})
				}
			}
			entries = append(entries, u)
		}
	}
	if in.MaxDevices > 0 {
		b.row("devices", 'L', fmt.Sprint(in.MaxDevices), terms("1", entries...)...)
	}
}

// pin makes rows for a pinned device: in one copy it has exactly its layers.
func (b *builder) pin(i int, d *Device) {
	if d.Pinned == nil {
		return
	}
	r := b.r
	var first []int
	for l := range r.layers {
		off := l % r.model
		switch {
		case off < d.Pinned.From || off >= d.Pinned.To:
			b.row(fmt.Sprintf("pin_%d_%d", i, l), 'E', "0", term{"1", b.x[i][l]})
		case off > d.Pinned.From:
			b.row(fmt.Sprintf("pin_%d_%d", i, l), 'E', "0", term{"1", b.x[i][l]}, term{"-1", b.x[i][l-1]})
		default:
			first = append(first, b.x[i][l])
		}
	}
	b.row(fmt.Sprintf("pinned_%d", i), 'E', "1", terms("1", first...)...)
}

// stages makes rows that keep z at or above the longest stage.
func (b *builder) stages() {
	if !b.staged() {
		return
	}
	r, in := b.r, b.c.in
	copies := int64(in.replicas())
	above := copies // z is the time between tokens of all copies
	if in.Objective == Balanced {
		above = 1
	}
	z := term{fmt.Sprint(-above), b.z}
	for i := range r.n {
		var busy []term
		for l := range r.layers {
			busy = append(busy, term{decimal(r.work[i][l+1]-r.work[i][l], b.c.scale), b.x[i][l]})
		}
		for _, v := range b.once[i] {
			busy = append(busy, term{decimal(r.enter[i], b.c.scale), v})
		}
		b.row(fmt.Sprintf("stage_%d", i), 'L', "0", append(sum(busy), z)...)
	}
	if in.Objective == Balanced {
		return
	}
	b.row("streams", 'L', "0", append(b.total, term{fmt.Sprint(-copies * int64(in.Load.Streams)), b.z})...)
	for i := range r.n + 1 {
		for j := range r.n + 1 {
			if i != j && b.c.busy[i][j] > 0 {
				b.row(fmt.Sprintf("busy_%d_%d", i, j), 'L', "0", append(b.used(i, j), z)...)
			}
		}
	}
}

// used returns the variables that are 1 when a link is used, times how long it is busy. A way uses a link once at the most.
func (b *builder) used(i, j int) []term {
	r := b.r
	var on []int
	for l := 0; l <= r.layers; l += max(1, r.model) {
		switch {
		case i == r.n && l == 0:
			on = append(on, b.x[j][0])
		case j == r.n && l == r.layers:
			on = append(on, b.x[i][r.layers-1])
		case l == 0 || l == r.layers:
		case i == r.n || j == r.n:
			for k := range r.n {
				if i == r.n {
					on = append(on, b.y[k][j][l])
				} else {
					on = append(on, b.y[i][k][l])
				}
			}
		}
	}
	for l := 1; l < r.layers && i < r.n && j < r.n; l++ {
		if l%r.model != 0 {
			on = append(on, b.y[i][j][l])
		}
	}
	return terms(decimal(b.c.busy[i][j], b.c.scale), on...)
}

// sum adds up the terms of a variable: a row may name it once.
func sum(list []term) []term {
	at := map[int]int{}
	var out []term
	for _, t := range list {
		k, ok := at[t.variable]
		if !ok {
			at[t.variable] = len(out)
			out = append(out, t)
			continue
		}
		a, _ := new(big.Rat).SetString(out[k].coefficient)
		v, _ := new(big.Rat).SetString(t.coefficient)
		out[k].coefficient = a.Add(a, v).FloatString(12)
	}
	return out
}

// mebibytes writes bytes as MiB, exactly.
func mebibytes(n int64) string { return decimal(n, 1000*(1<<20)) }
