// SPDX-License-Identifier: MIT

package layers

import (
	"github.com/shardnode/shardnode/internal/kernel"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// attentionRows is how many rows of a session one piece of attention work takes: enough to use a key several times while it is in cache, few enough
// to share a prefill among threads. Results do not depend on it.
const attentionRows = 8

// row is where a row of a step belongs: the KV cache of its session and its position there. A step may hold rows of several sessions; those of one
// session are neighbours at rising positions.
type row struct {
	cache    *Cache
	position int
	round    []uint32 // as in Input
}

// tile is a run of rows of one session that attention takes together.
type tile struct {
	row, rows int
}

// scratch is the memory of one step, with room for the rows and positions of the largest step so far. It never shrinks.
type scratch struct {
	n         int // rows of the step under way
	maxRows   int // room
	maxScores int // room

	x          []float32          // [n][hidden] the residual stream
	normed     []float32          // [n][hidden]
	q          []float32          // [n][heads·headDim], then the attention's output
	k, v       []float32          // [n][kvHeads·headDim]
	gate       []float32          // [2n][ffn]: activations of the down projection, then what their quantisation takes away
	up         []float32          // [n][ffn]
	planes     int                // of gate in use: 2 where the down projection is quantised
	active     int                // rows of a plane
	remainders []kernel.Remainder // [threads]
	out        []float32          // [2n][hidden] of a block's two branches
	turn       [ropes]angles      // [n][ropeDim/2]
	mixture    mixture            // of a layer with experts
	scores     [][]float32        // [threads][maxScores]
	acts       *kernel.Acts       // of the matrix product under way

	// What the pieces of work in block.go see of the step under way.
	rows             []row  // [n]
	tiles            []tile // of rows
	block            *block
	layer            int                // index into the caches
	tokens           []protocol.TokenID // [n], the caller's
	normDst, normSrc []float32
	normWeight       []float32
	gateBias, upBias []float32 // [ffn] of the expert under way; nil: none
	capped           []float32 // logits to bend

	do    pieces
	batch batch
}

// pieces are the method values handed to the pool, made once: a new one for each call would be an allocation.
type pieces struct {
	embed, angles, norm, rotate, attend, residual, activate, down, bend func(worker, i int)
	route, gather, collect, mixed                                       func(worker, i int)
}

func (m *Model) newScratch() {
	m.scratch.scores = make([][]float32, m.pool.Threads())
	m.scratch.remainders = make([]kernel.Remainder, m.pool.Threads())
	m.scratch.do = pieces{
		embed: m.embedRow, angles: m.angleRow, norm: m.normRow, rotate: m.rotateRow, attend: m.attendTile,
		residual: m.residualRow, activate: m.activateRow, down: m.downRow, bend: m.bendPiece,
		route: m.routeRow, gather: m.gatherRow, collect: m.collectRow, mixed: m.mixedRow,
	}
}

// begin lays a step out: s.rows is set.
func (m *Model) begin() {
	s, c := &m.scratch, &m.cfg
	s.n = len(s.rows)
	s.layoutTiles()
	if s.n > s.maxRows {
		s.maxRows = s.n
		s.x = make([]float32, s.n*c.Hidden)
		s.normed = make([]float32, s.n*c.Hidden)
		s.out = make([]float32, 2*s.n*c.Hidden)
		s.q = make([]float32, s.n*c.Heads*c.HeadDim)
		s.k = make([]float32, s.n*c.KVHeads*c.HeadDim)
		s.v = make([]float32, s.n*c.KVHeads*c.HeadDim)
		s.gate = make([]float32, 2*s.n*c.FFN)
		s.up = make([]float32, s.n*c.FFN)
		for i, r := range m.rope {
			if r != nil {
				s.turn[i] = angles{make([]float32, s.n*c.RopeDim/2), make([]float32, s.n*c.RopeDim/2)}
			}
		}
		s.mixture.grow(c, s.n)
		s.acts = kernel.NewActs(2*s.n, actColumns(c))
	}
	need := 0
	for _, t := range s.tiles {
		first := s.rows[t.row]
		need = max(need, kernel.ScoresLen(t.rows, c.Heads/c.KVHeads, scorePositions(first.position+t.rows, first.cache.positions)))
	}
	if need > s.maxScores {
		s.maxScores = need
		for i := range s.scores {
			s.scores[i] = make([]float32, need)
		}
	}
}

// scoreStep is how many positions more there is room for in scores when there must be more: decode rarely allocates as it goes.
const scoreStep = 4096

// scorePositions is for how many positions there is room when rows before end are computed.
func scorePositions(end, positions int) int {
	return min((end+scoreStep-1)/scoreStep*scoreStep, positions)
}

// actColumns is the most columns that the activations of a product have.
func actColumns(c *Config) int { return max(c.Hidden, c.FFN, c.Heads*c.HeadDim) }

// layoutTiles cuts the rows where a session ends and into pieces.
func (s *scratch) layoutTiles() {
	s.tiles = s.tiles[:0]
	for i, r := range s.rows {
		if n := len(s.tiles); n > 0 {
			t := &s.tiles[n-1]
			first := s.rows[t.row]
			if t.rows < attentionRows && r.cache == first.cache && r.position == first.position+t.rows {
				t.rows++
				continue
			}
		}
		s.tiles = append(s.tiles, tile{row: i, rows: 1})
	}
}
