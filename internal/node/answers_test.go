// SPDX-License-Identifier: MIT

package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"github.com/shardnode/shardnode/internal/cmdline"
	"github.com/shardnode/shardnode/internal/testmodel"
	"github.com/shardnode/shardnode/pkg/gguf"
	"github.com/shardnode/shardnode/pkg/p2p"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// answerTime is what a question to a node that computes may take, in the middle, on loopback.
const answerTime = 500 * time.Microsecond

// busyWith are what a node may be busy with: the rows of its steps.
var busyWith = []struct {
	name string
	rows int
}{{"prefill", protocol.DefaultChunkRows}, {"decode", 1}}

// TestAnswersWhileComputing: a node whose threads all compute answers other programs at once. The bound is ten times what
// BenchmarkAnswers is to show. It is for the median, and not for each of three tries, as others use the machine too. Not parallel: it
// changes GOMAXPROCS.
func TestAnswersWhileComputing(t *testing.T) {
	if raceDetector {
		t.Skip("cryptography is some ten times slower under the race detector: times mean nothing")
	}
	n := answering(t)
	for _, c := range busyWith {
		t.Run(c.name, func(t *testing.T) {
			keepBusy(t, n, c.rows)
			middle := time.Hour
			for try := 0; try < 3 && middle > 10*answerTime; try++ {
				before := n.Engine().Stats().Steps
				took := ask(t, n, 100)
				middle = min(middle, took[50])
				t.Logf("answers take %v, nine of ten %v, the longest %v; %d steps meanwhile", took[50], took[90], took[99], n.Engine().Stats().Steps-before)
			}
			if middle > 10*answerTime {
				t.Errorf("a node that computes takes %v to answer, want %v", middle, answerTime)
			}
		})
	}
}

// BenchmarkAnswers reports how long a node takes to answer while it has nothing to do, and while all its threads compute.
func BenchmarkAnswers(b *testing.B) {
	n := answering(b)
	measure := func(b *testing.B) {
		cmdline.SpareP(n.cfg.Threads) // package testing sets GOMAXPROCS for each benchmark
		took := ask(b, n, max(100, b.N))
		b.ReportMetric(0, "ns/op") // means nothing here
		b.ReportMetric(float64(took[len(took)/2])/float64(time.Microsecond), "µs-median")
		b.ReportMetric(float64(took[len(took)*99/100])/float64(time.Microsecond), "µs-p99")
	}
	b.Run("idle", measure)
	for _, c := range busyWith {
		b.Run(c.name, func(b *testing.B) {
			keepBusy(b, n, c.rows)
			measure(b)
		})
	}
}

// askEnv makes this program one that asks a node: its address and how many questions.
const askEnv = "SHARDNODE_TEST_ASK"

func TestMain(m *testing.M) {
	if what := os.Getenv(askEnv); what != "" {
		if err := askAsProgram(what); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// askPause lies between two questions: were they asked back to back, the P that answered would still look for the next one.
const askPause = 3 * time.Millisecond

// askAsProgram asks a node for its status again and again, and prints how long each answer took.
func askAsProgram(what string) error {
	var address string
	var questions int
	if _, err := fmt.Sscan(what, &address, &questions); err != nil {
		return err
	}
	node, err := peer.AddrInfoFromString(address)
	if err != nil {
		return err
	}
	h, err := p2p.NewHost(p2p.Config{DialOnly: true})
	if err != nil {
		return err
	}
	defer h.Close()
	pause := time.NewTicker(askPause)
	defer pause.Stop()
	for i := range questions + 1 {
		_, took, err := h.Status(context.Background(), *node)
		if err != nil {
			return err
		}
		if i > 0 { // the first one connects
			fmt.Println(took.Nanoseconds())
		}
		<-pause.C
	}
	return nil
}

// ask lets another program ask the node so many questions, and returns how long the answers took, in order of length.
func ask(tb testing.TB, n *Node, questions int) []time.Duration {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s/p2p/%s %d", askEnv, n.host.Addrs()[0], n.host.ID(), questions))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		tb.Fatal(err)
	}
	var took []time.Duration
	for line := range strings.Lines(string(out)) {
		ns, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
		if err != nil {
			tb.Fatal(err)
		}
		took = append(took, time.Duration(ns))
	}
	if len(took) != questions {
		tb.Fatalf("%d answers to %d questions", len(took), questions)
	}
	slices.Sort(took)
	return took
}

// answering runs a node of a model with wide layers, with a thread for each processor and a P more, as the daemon does.
func answering(tb testing.TB) *Node {
	tb.Helper()
	threads := runtime.NumCPU()
	ps := runtime.GOMAXPROCS(0)
	tb.Cleanup(func() { runtime.GOMAXPROCS(ps) })
	runtime.GOMAXPROCS(threads) // whatever the environment says
	cmdline.SpareP(threads)

	spec := testmodel.Default()
	spec.Layers, spec.Hidden, spec.FFN, spec.Heads, spec.KVHeads = 2, 1024, 2816, 16, 4
	f, err := gguf.Parse(testmodel.Bytes(spec))
	if err != nil {
		tb.Fatal(err)
	}
	manifest, err := gguf.BuildManifest(f)
	if err != nil {
		tb.Fatal(err)
	}
	n, err := New(tb.Context(), Config{
		File: f, Manifest: manifest, ModelName: "test", Layers: protocol.LayerRange{From: 0, To: spec.Layers}, Threads: threads, KVBudget: 256 << 20,
		Listen: []multiaddr.Multiaddr{multiaddr.StringCast("/ip4/127.0.0.1/udp/0/quic-v1")}, NoMDNS: true, Version: "test",
	})
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Error(err)
		}
	})
	return n
}

// keepBusy gives the node steps of so many rows, as fast as it takes them, until the test ends. It returns when the first is computed.
func keepBusy(tb testing.TB, n *Node, rows int) {
	tb.Helper()
	cfg := n.current.Load().model.Config()
	id := protocol.SessionID{1}
	var first sync.Once
	busy := make(chan struct{})
	s, _, err := n.Engine().Open("test", &protocol.Open{
		Session: id, Model: n.modelID, Numerics: n.current.Load().model.Numerics(protocol.F32), Wire: protocol.F32, Positions: uint32(cfg.Context),
		Route: []protocol.Hop{{Peer: n.host.ID().String(), Layers: n.cfg.Layers}},
	}, func(protocol.Frame) error {
		first.Do(func() { close(busy) })
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		position, tokens := 0, make([]protocol.TokenID, rows)
		for step := uint32(0); ; step++ {
			var f protocol.Frame = &protocol.Step{Session: id, Step: step, Position: uint32(position), Tokens: tokens}
			if position+rows > cfg.Context {
				f, position = &protocol.Truncate{Session: id, Step: step}, 0
			} else {
				position += rows
			}
			if err := s.Submit(ctx, f); err != nil {
				done <- err
				return
			}
		}
	}()
	tb.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			tb.Errorf("steps to keep the node busy: %v", err)
		}
		s.Close()
	})
	select {
	case <-busy:
	case err := <-done:
		done <- err
		tb.Fatal("the node takes no steps")
	}
}
