// SPDX-License-Identifier: MIT

package tokenizer

// symbol is a piece of a word between merges: word[start:end]. An empty one has been merged into its left neighbour.
type symbol struct {
	start, end int32
	prev, next int32 // neighbours in symbols, -1 at the ends
	id         int32 // the encoder's own number for the piece
}

// candidate is a pair of neighbours that could merge. The lowest key goes first, among equals the leftmost.
type candidate struct {
	key         float64
	left, right int32
	width       int32 // bytes of both: another width later says that one of them has grown
	id          int32 // the merged piece
}

func (c candidate) before(d candidate) bool {
	return c.key < d.key || c.key == d.key && c.left < d.left
}

// merger joins a word's symbols pair by pair, best pair first, in O(n log n) for a word of n symbols. Its buffers are
// kept from word to word; it belongs to one call of Encode.
type merger struct {
	symbols []symbol
	queue   []candidate // binary heap
	// pair says whether two neighbours may merge, how early, and into what.
	pair func(l, r symbol) (key float64, id int32, ok bool)
}

func (m *merger) reset() { m.symbols, m.queue = m.symbols[:0], m.queue[:0] }

// add appends a symbol at the right end of the word.
func (m *merger) add(start, end int, id int32) {
	i := int32(len(m.symbols))
	if i > 0 {
		m.symbols[i-1].next = i
	}
	m.symbols = append(m.symbols, symbol{start: int32(start), end: int32(end), prev: i - 1, next: -1, id: id})
}

// run merges until nothing more can. What remains is the symbols that are not empty, in order.
func (m *merger) run() {
	for i := 1; i < len(m.symbols); i++ {
		m.offer(int32(i-1), int32(i))
	}
	for len(m.queue) > 0 {
		c := m.pop()
		l, r := &m.symbols[c.left], &m.symbols[c.right]
		if l.start == l.end || r.start == r.end || r.end-l.start != c.width {
			continue
		}
		l.end, l.id, l.next = r.end, c.id, r.next
		r.start = r.end
		if r.next >= 0 {
			m.symbols[r.next].prev = c.left
		}
		m.offer(l.prev, c.left)
		m.offer(c.left, l.next)
	}
}

func (m *merger) offer(left, right int32) {
	if left < 0 || right < 0 {
		return
	}
	l, r := m.symbols[left], m.symbols[right]
	if key, id, ok := m.pair(l, r); ok {
		m.push(candidate{key: key, left: left, right: right, width: r.end - l.start, id: id})
	}
}

func (m *merger) push(c candidate) {
	m.queue = append(m.queue, c)
	q := m.queue
	i := len(q) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if !q[i].before(q[parent]) {
			break
		}
		q[i], q[parent] = q[parent], q[i]
		i = parent
	}
}

func (m *merger) pop() candidate {
	top := m.queue[0]
	n := len(m.queue) - 1
	m.queue[0] = m.queue[n]
	m.queue = m.queue[:n]
	q := m.queue
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < n; child++ {
			if q[child].before(q[least]) {
				least = child
			}
		}
		if least == i {
			return top
		}
		q[i], q[least] = q[least], q[i]
		i = least
	}
}
