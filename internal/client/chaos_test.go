// SPDX-License-Identifier: MIT

package client

import (
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/shardnode/shardnode/pkg/pipeline"
)

// chaosSchedules is how many schedules go test runs.
const chaosSchedules = 30

// TestChaos runs generations over real nodes and coordinators, with real QUIC on a simulated network in virtual time, while what
// [chaosPlan] says goes wrong. Each generation has to end with exactly the tokens and logits of one machine that computes alone;
// where no node can take over, with the error that says so, in time; and nothing of it may be left anywhere. What goes wrong is a
// function of the seed, but for the random numbers of libp2p and QUIC and the order of goroutines: a failure comes again when its
// seed is run alone, if not always at the first time.
//
//	SHARDNODE_SIM_SEED=123 go test ./internal/client -run TestChaos -v -count=20     runs one, and shows what happened where it fails
//	SHARDNODE_SIM_SCHEDULES=1000 go test ./internal/client -run TestChaos -v         runs as many
func TestChaos(t *testing.T) {
	schedules, first := chaosSchedules, rand.Uint64()>>16
	if testing.Short() {
		schedules = 8
	}
	if seed, err := strconv.ParseUint(os.Getenv("SHARDNODE_SIM_SEED"), 10, 64); err == nil {
		schedules, first = 1, seed
	}
	if n, err := strconv.Atoi(os.Getenv("SHARDNODE_SIM_SCHEDULES")); err == nil {
		schedules = n
	}
	if schedules == 1 {
		runChaos(t, first, true)
		return
	}
	t.Logf("%d schedules from seed %d on", schedules, first)
	var mu sync.Mutex
	var total chaosTotals
	t.Run(strconv.FormatUint(first, 10), func(t *testing.T) { total = runChaos(t, first, false) }) // alone, so that what is made once is there
	before := takeFootprint()
	t.Run("seeds", func(t *testing.T) {
		for i := range schedules - 1 {
			seed := first + 1 + uint64(i)
			t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
				t.Parallel()
				one := runChaos(t, seed, false)
				mu.Lock()
				defer mu.Unlock()
				total.add(one)
			})
		}
	})
	t.Logf("%+v", total)
	if schedules >= chaosSchedules && (total.Replaced == 0 || total.Replayed == 0 || total.Old == 0 || total.Duplicates == 0) {
		t.Error("the schedules are too kind")
	}
	takeFootprint().compare(t, before)
}

// footprint is what a process holds.
type footprint struct {
	goroutines int
	heap       uint64 // bytes
	hosts      int64  // made until then
}

func takeFootprint() footprint {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what finalizers and pools held on to
	runtime.ReadMemStats(&m)
	return footprint{runtime.NumGoroutine(), m.HeapAlloc, chaosHosts.Load()}
}

// What the heap may have grown by: pools and the names of subtests; and what each libp2p host leaves behind for good, types that its
// dependency injection makes by reflection, some 11 KiB. Of programs that make one host nobody will notice.
const (
	heapMore    = 6 << 20
	heapPerHost = 16 << 10
)

// chaosHosts counts the hosts made.
var chaosHosts atomic.Int64

func (f footprint) compare(t *testing.T, before footprint) {
	t.Helper()
	hosts := f.hosts - before.hosts
	t.Logf("%d goroutines, %d before; %d KiB of heap, %d before, %d hosts were made", f.goroutines, before.goroutines, f.heap>>10, before.heap>>10, hosts)
	if f.goroutines > before.goroutines {
		t.Errorf("%d goroutines, %d before", f.goroutines, before.goroutines)
	}
	if more := int64(f.heap) - int64(before.heap); more > heapMore+heapPerHost*hosts {
		t.Errorf("the heap has grown by %d KiB", more>>10)
	}
}

// chaosTotals is what happened in schedules.
type chaosTotals struct {
	Generations, Done, Failed, Died, Recoveries, Epochs, Moved, Replaced, Replayed int // by the coordinators
	Repeated, Old, Duplicates                                                      int // by the nodes: frames sent again, of them of older epochs, and seen twice

	Longest time.Duration // pause
	In      uint64        // seed
}

// note adds a generation.
func (c *chaosTotals) note(seed uint64, g *chaosGeneration) {
	c.Generations++
	switch {
	case !g.client.died.IsZero():
		c.Died++
	case g.err == nil:
		c.Done++
	default:
		c.Failed++
	}
	if g.r == nil {
		return
	}
	for _, r := range g.r.Report.Recoveries {
		c.Recoveries++
		c.Epochs += r.Epochs
		c.Replaced += len(r.New)
		c.Replayed += r.Replayed
		if r.Took > c.Longest {
			c.Longest, c.In = r.Took, seed
		}
		if len(r.Lost) > 0 && r.Lost[0].Leaving && r.Replayed == 0 && r.Phase == pipeline.PhaseDecode {
			c.Moved++
		}
	}
}

// noteNode adds what a node saw in its last life.
func (c *chaosTotals) noteNode(n *chaosNode) {
	n.past.mu.Lock()
	c.Repeated += n.past.repeated
	c.Old += n.past.old
	n.past.mu.Unlock()
	if n.life != nil {
		c.Duplicates += int(n.life.node.Engine().Stats().Duplicates)
	}
}

func (c *chaosTotals) add(o chaosTotals) {
	c.Generations += o.Generations
	c.Done += o.Done
	c.Failed += o.Failed
	c.Died += o.Died
	c.Recoveries += o.Recoveries
	c.Epochs += o.Epochs
	c.Moved += o.Moved
	c.Replaced += o.Replaced
	c.Replayed += o.Replayed
	c.Repeated += o.Repeated
	c.Old += o.Old
	c.Duplicates += o.Duplicates
	if o.Longest > c.Longest {
		c.Longest, c.In = o.Longest, o.In
	}
}

// runChaos runs a schedule.
func runChaos(t *testing.T, seed uint64, verbose bool) (total chaosTotals) {
	synctest.Test(t, func(t *testing.T) {
		p := newChaosPlan(seed)
		s := newChaosSwarm(t, p)
		if verbose {
			enc := zapcore.NewConsoleEncoder(zapcore.EncoderConfig{MessageKey: "m", NameKey: "n", LevelKey: "l", EncodeLevel: zapcore.LowercaseLevelEncoder})
			s.log = zap.New(zapcore.NewCore(enc, zapcore.AddSync(s), zap.DebugLevel))
		}
		defer func() {
			s.stop()
			if t.Failed() {
				t.Logf("%s%sagain: SHARDNODE_SIM_SEED=%d go test ./internal/client -run TestChaos -v -count=20", p, s.told(), seed)
			}
		}()
		if err := s.start(); err != nil {
			t.Errorf("seed %d: %v", seed, err)
			return
		}
		generations, err := s.prepare()
		if err != nil {
			t.Errorf("seed %d: %v", seed, err)
			return
		}
		s.began = time.Now()
		var wg sync.WaitGroup
		for _, g := range generations {
			wg.Go(func() { g.run(s) })
		}
		ended := make(chan struct{})
		go func() {
			wg.Wait()
			close(ended)
		}()
		s.hurt(ended)
		select {
		case <-ended:
		case <-time.After(chaosLimit):
			t.Errorf("seed %d: a generation has not ended %s after the last fault", seed, chaosLimit)
			for _, c := range s.clients {
				c.die()
			}
			<-ended
		}
		for _, g := range generations {
			if wrong := g.verdict(p); wrong != "" {
				t.Errorf("seed %d: %s: %s", seed, g.name, wrong)
			}
			total.note(seed, g)
		}
		s.settle()
		for _, n := range s.nodes {
			total.noteNode(n)
		}
	})
	return total
}

// chaosLimit is how long a generation may take after everything is as it should be again: a step that is never answered takes its
// time until the route is opened again.
const chaosLimit = 3 * time.Minute
