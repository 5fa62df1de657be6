// SPDX-License-Identifier: MIT

package layers

import "github.com/shardnode/shardnode/internal/kernel"

// experts is a mixture of feed-forward networks, of which each row goes through a few (Shazeer et al., "Outrageously Large Neural Networks",
// 2017). Of a step, only the weights of experts that one of its rows has chosen are read.
type experts struct {
	router           *kernel.Matrix   // [experts][hidden]
	routerBias       []float32        // [experts]; nil: none
	gate, up, down   []*kernel.Matrix // [experts] of [ffn][hidden], and [hidden][ffn]
	gateBias, upBias []float32        // [experts][ffn]; nil: none
	downBias         []float32        // [experts][hidden]; nil: none
}

// mixture is the scratch of a layer of experts. An order is a row times Config.ExpertsUsed, plus which of the row's choices it is.
type mixture struct {
	logits  []float32 // [n][experts]
	chosen  []int     // [n][used] experts
	shares  []float32 // [n][used]
	orders  []int     // [n·used] orders by expert, then row
	ends    []int     // [experts] where an expert's orders end
	rows    []float32 // [n][hidden] input of an expert that not all rows have chosen
	sum     []float32 // [n][hidden] of experts' outputs
	current []int     // the orders of the expert under way
	expert  int
	acts    *kernel.Acts // of the down projection: those of the input stay for the next expert where all rows chose it
}

func (x *mixture) grow(c *Config, n int) {
	if c.Experts == 0 {
		return
	}
	x.logits = make([]float32, n*c.Experts)
	x.chosen, x.shares = make([]int, n*c.ExpertsUsed), make([]float32, n*c.ExpertsUsed)
	x.orders, x.ends = make([]int, n*c.ExpertsUsed), make([]int, c.Experts)
	x.rows, x.sum = make([]float32, n*c.Hidden), make([]float32, n*c.Hidden)
	x.acts = kernel.NewActs(2*n, c.FFN)
}

// mixtureBytes is the memory of that.
func mixtureBytes(c *Config, n int) int64 {
	if c.Experts == 0 {
		return 0
	}
	rows := int64(n)
	return 4*rows*int64(c.Experts+2*c.Hidden) + 20*rows*int64(c.ExpertsUsed) + 8*int64(c.Experts) + kernel.ActsBytes(2*n, c.FFN)
}

// feedExperts is the feed-forward half of a layer with experts: one expert after the other, in rising number, takes the rows that chose it. What
// a row gets does not depend on the other rows.
func (m *Model) feedExperts(b *block) {
	s, c, w := &m.scratch, &m.cfg, b.experts
	x := &s.mixture
	m.rmsNorm(s.normed, s.x, b.ffnNorm)
	s.acts.Set(s.normed, s.n, c.Hidden)
	m.pool.MatMul(x.logits, w.router, s.acts)
	m.pool.Run(s.n, s.do.route)
	x.sortOrders(c, s.n)
	all, begin := true, 0 // whether s.acts has all rows
	for e, end := range x.ends {
		orders := x.orders[begin:end]
		begin = end
		n := len(orders)
		if n == 0 {
			continue
		}
		x.expert, x.current = e, orders
		if n < s.n {
			m.pool.Run(n, s.do.gather)
			s.acts.Set(x.rows, n, c.Hidden)
		} else if !all {
			s.acts.Set(s.normed, n, c.Hidden)
		}
		all = n == s.n
		m.pool.MatMul(s.gate, w.gate[e], s.acts)
		m.pool.MatMul(s.up, w.up[e], s.acts)
		s.gateBias, s.upBias = expertBias(w.gateBias, e, c.FFN), expertBias(w.upBias, e, c.FFN)
		m.activate(n, w.down[e])
		x.acts.Set(s.gate, s.planes*n, c.FFN)
		m.pool.MatMul(s.out, w.down[e], x.acts)
		m.pool.Run(n, s.do.collect)
	}
	s.gateBias, s.upBias = nil, nil
	m.pool.Run(s.n, s.do.mixed)
}

// expertBias returns one expert's part of a bias of all.
func expertBias(bias []float32, expert, size int) []float32 {
	if bias == nil {
		return nil
	}
	return part(bias, expert, size)
}

// routeRow chooses a row's experts, and clears the sum of what they will give.
func (m *Model) routeRow(_, row int) {
	c, x := &m.cfg, &m.scratch.mixture
	logits := part(x.logits, row, c.Experts)
	addBias(logits, m.scratch.block.experts.routerBias)
	used := c.ExpertsUsed
	kernel.Route(x.chosen[row*used:][:used], part(x.shares, row, used), logits)
	clear(part(x.sum, row, c.Hidden))
}

// sortOrders sorts the choices of n rows by expert, keeping rows in order.
func (x *mixture) sortOrders(c *Config, n int) {
	clear(x.ends)
	chosen := x.chosen[:n*c.ExpertsUsed]
	for _, e := range chosen {
		x.ends[e]++
	}
	sum := 0
	for e, count := range x.ends { // to where each begins
		x.ends[e] = sum
		sum += count
	}
	for order, e := range chosen { // and on to where it ends
		x.orders[x.ends[e]] = order
		x.ends[e]++
	}
}

// gatherRow copies an input row of the expert under way.
func (m *Model) gatherRow(_, i int) {
	x, h := &m.scratch.mixture, m.cfg.Hidden
	copy(part(x.rows, i, h), part(m.scratch.normed, x.current[i]/m.cfg.ExpertsUsed, h))
}

// collectRow adds an output row of the expert under way to its row's sum, by its share.
func (m *Model) collectRow(_, i int) {
	x, c := &m.scratch.mixture, &m.cfg
	out := m.joinPlanes(i, len(x.current))
	addBias(out, expertBias(m.scratch.block.experts.downBias, x.expert, c.Hidden))
	order := x.current[i]
	kernel.AddScaled(part(x.sum, order/c.ExpertsUsed, c.Hidden), out, x.shares[order])
}

// mixedRow adds the experts' sum to the residual stream.
func (m *Model) mixedRow(_, row int) {
	m.addBranch(row, part(m.scratch.mixture.sum, row, m.cfg.Hidden), m.scratch.block.ffnPost)
}

// mixtureOf takes the weights of a layer of experts, which files stack: [experts][rows][columns].
func (l *loader) mixtureOf(c *Config, i int) *experts {
	return &experts{
		router: l.matrix(weight(i, "ffn_gate_inp"), c.Experts, c.Hidden),
		gate:   l.stack(weight(i, "ffn_gate_exps"), c.Experts, c.FFN, c.Hidden),
		up:     l.stack(weight(i, "ffn_up_exps"), c.Experts, c.FFN, c.Hidden),
		down:   l.stack(weight(i, "ffn_down_exps"), c.Experts, c.Hidden, c.FFN),
	}
}

func (l *loader) stack(name string, n, rows, cols int) []*kernel.Matrix {
	all := make([]*kernel.Matrix, 0, n)
	for e := range n {
		all = append(all, l.part(name, []int{cols, rows, n}, e*rows, rows))
		if l.err != nil || l.purpose == toList {
			break
		}
	}
	return all
}

// mixture reads the keys of a mixture of experts, and makes FFN the width of one.
func (r *keyReader) mixture(c *Config) {
	if c.Experts = r.intOr("expert_count", 0, maxExperts, 0); c.Experts == 0 {
		return
	}
	c.ExpertsUsed = r.int("expert_used_count", c.Experts)
	c.FFN = r.intOr("expert_feed_forward_length", 1, maxFFN, c.FFN)
}
