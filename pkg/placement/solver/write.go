// SPDX-License-Identifier: MIT

package solver

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// WriteLP writes the instance as a mixed-integer programme in LP format, which HiGHS, CBC, GLPK and Gurobi read. Its optimum is the
// plan's cost in milliseconds (of Patented: a thousand times it).
func WriteLP(w io.Writer, in *Instance) error {
	m, err := programme(in)
	if err != nil {
		return err
	}
	b := bufio.NewWriter(w)
	for _, line := range in.legend() {
		fmt.Fprintf(b, "\\ %s\n", line)
	}
	fmt.Fprint(b, "Minimize\n cost:")
	line := lines{w: b}
	for _, v := range m.vars {
		if v.cost != "" {
			line.term(v.cost, v.name)
		}
	}
	fmt.Fprint(b, "\nSubject To\n")
	for _, r := range m.rows {
		fmt.Fprintf(b, " %s:", r.name)
		line.n = 0
		for _, t := range r.terms {
			line.term(t.coefficient, m.vars[t.variable].name)
		}
		fmt.Fprintf(b, " %s %s\n", map[byte]string{'L': "<=", 'G': ">=", 'E': "="}[r.sense], r.right)
	}
	fmt.Fprint(b, "Binaries\n")
	for _, v := range m.vars {
		if v.binary {
			fmt.Fprintf(b, " %s\n", v.name)
		}
	}
	fmt.Fprint(b, "End\n")
	return b.Flush()
}

// lines writes terms, a few a line: some readers limit the length.
type lines struct {
	w *bufio.Writer
	n int
}

func (l *lines) term(coefficient, name string) {
	if l.n++; l.n%6 == 0 {
		fmt.Fprint(l.w, "\n ")
	}
	sign := "+"
	if c, negative := strings.CutPrefix(coefficient, "-"); negative {
		sign, coefficient = "-", c
	}
	fmt.Fprintf(l.w, " %s %s %s", sign, coefficient, name)
}

// WriteMPS writes the same programme in free MPS format.
func WriteMPS(w io.Writer, in *Instance) error {
	m, err := programme(in)
	if err != nil {
		return err
	}
	b := bufio.NewWriter(w)
	for _, line := range in.legend() {
		fmt.Fprintf(b, "* %s\n", line)
	}
	fmt.Fprint(b, "NAME placement\nROWS\n N cost\n")
	columns := make([][]string, len(m.vars))
	for i, v := range m.vars {
		if v.cost != "" {
			columns[i] = append(columns[i], "cost "+v.cost)
		}
	}
	for _, r := range m.rows {
		fmt.Fprintf(b, " %c %s\n", r.sense, r.name)
		for _, t := range r.terms {
			columns[t.variable] = append(columns[t.variable], r.name+" "+t.coefficient)
		}
	}
	fmt.Fprint(b, "COLUMNS\n M1 'MARKER' 'INTORG'\n")
	for pass := range 2 {
		for i, v := range m.vars {
			if v.binary == (pass == 0) {
				for _, c := range columns[i] {
					fmt.Fprintf(b, " %s %s\n", v.name, c)
				}
			}
		}
		if pass == 0 {
			fmt.Fprint(b, " M2 'MARKER' 'INTEND'\n")
		}
	}
	fmt.Fprint(b, "RHS\n")
	for _, r := range m.rows {
		if r.right != "0" {
			fmt.Fprintf(b, " RHS %s %s\n", r.name, r.right)
		}
	}
	fmt.Fprint(b, "BOUNDS\n")
	for _, v := range m.vars {
		if v.binary {
			fmt.Fprintf(b, " BV BOUND %s\n", v.name)
		}
	}
	fmt.Fprint(b, "ENDATA\n")
	return b.Flush()
}

// legend says what the numbers in names stand for.
func (in *Instance) legend() []string {
	c := compile(in)
	out := []string{
		fmt.Sprintf("placement of %d layers, objective %s; cost in ms, memory in MiB", len(in.Model.Layers), in.Objective),
		"x_i_l: device i has layer l; y_i_j_l: layer l-1 is on device i, layer l on j",
	}
	if in.replicas() > 1 {
		out = append(out, fmt.Sprintf("layers of %d replicas follow each other", in.replicas()))
	}
	for i, d := range c.devices {
		out = append(out, fmt.Sprintf("device %d: %q", i, in.Devices[d].Name))
	}
	return out
}
