// SPDX-License-Identifier: MIT

package kernel

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shardnode/shardnode/internal/quant"
)

// longestCall is what a call of assembly may last: nothing interrupts it, so a collection of garbage, which stops all threads, waits for
// the longest call under way.
const longestCall = 200 * time.Microsecond

// TestCallsAreShort: on every path every routine is called, with sizes of the largest models, and no call lasts long. The bound is ten
// times what BenchmarkCalls is to show, and for the median: a machine that others use puts some calls aside. Not parallel: it changes
// what all operations use.
func TestCallsAreShort(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: what it measures takes long, and means nothing under the race detector")
	}
	if len(supported()) == 1 {
		t.Skip("all is portable Go here, which can be stopped anywhere")
	}
	for _, which := range supported()[1:] {
		c := callsOf(t, which)
		for _, f := range slices.Sorted(maps.Keys(c.routines)) {
			if !c.routines[f] {
				t.Errorf("%s: %s was not called: give it work in callsOf", which, f)
			}
		}
		all := c.byLength()
		for i, name := range all {
			median := quantile(c.took[name], 0.5)
			if i < 3 {
				t.Logf("%s: %s lasts %v", which, name, median)
			}
			if median > 10*longestCall {
				t.Errorf("%s: %s lasts %v (median of %d calls), want %v: cut the work into more calls", which, name, median, len(c.took[name]), longestCall)
			}
		}
	}
}

// BenchmarkCalls reports how long the longest calls of assembly last: the largest median and the largest 99th percentile of all routines.
func BenchmarkCalls(b *testing.B) {
	for _, which := range supported()[1:] {
		b.Run(string(which), func(b *testing.B) {
			c := newCalls()
			for b.Loop() {
				c = callsOf(b, which)
			}
			var median, late time.Duration
			all := c.byLength()
			for _, name := range all {
				median, late = max(median, quantile(c.took[name], 0.5)), max(late, quantile(c.took[name], 0.99))
			}
			b.Logf("the longest: %s", strings.Join(all[:3], ", "))
			b.ReportMetric(0, "ns/op") // means nothing here
			b.ReportMetric(float64(median)/float64(time.Microsecond), "µs-longest-median")
			b.ReportMetric(float64(late)/float64(time.Microsecond), "µs-longest-p99")
		})
	}
}

// quantile returns the one at part q of all in order.
func quantile(all []time.Duration, q float64) time.Duration {
	all = slices.Sorted(slices.Values(all))
	return all[int(q*float64(len(all)-1))]
}

// calls are how long calls of routines took.
type calls struct {
	mu       sync.Mutex
	work     string                     // what is done
	took     map[string][]time.Duration // by routine and work
	routines map[string]bool            // whether it was called
}

func newCalls() *calls {
	return &calls{took: make(map[string][]time.Duration), routines: make(map[string]bool)}
}

// byLength returns the names of all that was called, what lasts longest first.
func (c *calls) byLength() []string {
	return slices.SortedFunc(maps.Keys(c.took), func(a, b string) int {
		return cmp.Compare(quantile(c.took[b], 0.5), quantile(c.took[a], 0.5))
	})
}

// measure replaces all routines in v, a struct, slice or function, by ones that note how long they take.
func (c *calls) measure(name string, v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			// Fields that are not exported can be set only by their address.
			c.measure(name+" "+v.Type().Field(i).Name, reflect.NewAt(v.Field(i).Type(), v.Field(i).Addr().UnsafePointer()).Elem())
		}
	case reflect.Slice:
		v.Set(reflect.AppendSlice(reflect.MakeSlice(v.Type(), 0, v.Len()), v)) // the path's own stays as it is
		for i := range v.Len() {
			c.measure(fmt.Sprintf("%s x%d", name, 1<<i), v.Index(i))
		}
	case reflect.Func:
		if v.IsNil() {
			return
		}
		f := reflect.ValueOf(v.Interface())
		c.routines[name] = false
		v.Set(reflect.MakeFunc(v.Type(), func(args []reflect.Value) []reflect.Value {
			start := now()
			results := f.Call(args)
			took := now() - start
			c.mu.Lock()
			defer c.mu.Unlock()
			c.took[name+" of "+c.work] = append(c.took[name+" of "+c.work], took)
			c.routines[name] = true
			return results
		}))
	}
}

// callsOf lets a pool of two threads do all that a path has routines for, as models of 70 billion weights need it.
func callsOf(tb testing.TB, which path) *calls {
	tb.Helper()
	const (
		hidden, ffn, vocab = 8192, 28672, 1 << 18
		context            = 1 << 17
		rows, n            = 80, 31 // of weights: pieces of two panels and one; of activations: tiles of all heights
		turns              = 20
	)
	rng := rand.New(rand.NewPCG(12, 12))
	c := newCalls()
	p := newPool(2, which)
	defer p.Close()
	measured := *opsOf(which)
	c.measure("ops", reflect.ValueOf(&measured).Elem())
	before := activeOps
	defer func() { activeOps = before }()
	activeOps, p.ops = &measured, &measured

	x, dst := randomFloats(rng, n*ffn, 1), make([]float32, n*rows)
	acts := NewActs(n, ffn)
	for _, typ := range allTypes {
		cols := ffn
		if typ == quant.F32 {
			cols = 11008 // nobody has more in 32 bits: 7 billion weights are 28 GB
		}
		c.work = fmt.Sprintf("%v, %d columns", typ, cols)
		m := packed(tb, p, newMatrix(tb, typ, rows, cols, bytes.Repeat(randomMatrix(tb, rng, typ, 1, cols).data, rows)))
		routines := *m.tiles
		c.measure(fmt.Sprintf("tile %v", typ), reflect.ValueOf(&routines).Elem())
		m.tiles = &routines
		for range turns {
			acts.Set(x, n, cols)
			p.MatMul(dst, m, acts)
		}
	}

	rope, err := NewRope(256, 1e6, nil, 1)
	if err != nil {
		tb.Fatal(err)
	}
	cos, sin := make([]float32, 128), make([]float32, 128)
	rope.Angles(cos, sin, 77)
	y, z := randomFloats(rng, vocab, 1), make([]float32, vocab)
	var r Remainder
	for range turns {
		c.work = fmt.Sprintf("a row of %d", hidden)
		RMSNorm(z[:hidden], x[:hidden], y[:hidden], 1e-6)
		Add(z[:hidden], x[:hidden])
		c.work = "a head of 256"
		RopeNorm(y[:256], cos, sin)
		RopeNeox(y[:256], cos, sin)
		c.work = fmt.Sprintf("a row of %d", ffn)
		SwiGLU(z[:ffn], x[:ffn], y[:ffn])
		GeGLU(z[:ffn], x[:ffn], y[:ffn])
		SwiGLUClamped(z[:ffn], x[:ffn], y[:ffn])
		r.Write(z[:ffn], x[:ffn])
		c.work = fmt.Sprintf("%d logits", vocab)
		ArgMax(y)
		Maxima(z, y)
		Weights(z, y, 5, 0.8)
		SoftCap(z, 30)
	}
	for _, typ := range []quant.Type{quant.F16, quant.F32} {
		for _, shape := range []struct{ positions, dim, turns int }{{KVPage * 2, 256, turns}, {context, 64, 2}} {
			const heads = 7 // four, two and one at a time
			c.work = fmt.Sprintf("heads of %d behind %d positions", shape.dim, shape.positions)
			h := newKVHead(tb, typ, shape.positions, shape.dim)
			q := randomFloats(rng, heads*shape.dim, 1)
			a := Attention{
				Dst: make([]float32, len(q)), Q: q, Stride: len(q), Rows: 1, Heads: heads, Pos: shape.positions - 1,
				Scale: 0.1, Scores: make([]float32, ScoresLen(1, heads, shape.positions)),
			}
			for range shape.turns {
				h.Put(a.Pos, q, q)
				h.Attend(&a)
			}
		}
	}

	s, err := p.NewStream(4 * pieceBytes)
	if err != nil {
		tb.Fatal(err)
	}
	defer s.Close()
	c.work = "a piece"
	c.measure("stream", reflect.ValueOf(&s.read).Elem())
	for range turns {
		s.Read()
	}
	return c
}
