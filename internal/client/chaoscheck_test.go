// SPDX-License-Identifier: MIT

package client

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	libp2pproto "github.com/libp2p/go-libp2p/core/protocol"

	"github.com/shardnode/shardnode/internal/quant"
	"github.com/shardnode/shardnode/internal/testmodel"
	"github.com/shardnode/shardnode/pkg/discovery"
	"github.com/shardnode/shardnode/pkg/gguf"
	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/p2p"
	"github.com/shardnode/shardnode/pkg/pipeline"
	"github.com/shardnode/shardnode/pkg/placement"
	"github.com/shardnode/shardnode/pkg/protocol"
	"github.com/shardnode/shardnode/pkg/sampler"
)

// The model is as small as one can be: what is to be exercised is everything else.
var (
	chaosFile = sync.OnceValue(func() *gguf.File {
		return must(gguf.Parse(testmodel.Bytes(testmodel.Spec{
			Layers: chaosLayers, Hidden: 16, FFN: 16, Heads: 2, KVHeads: 1, Context: 128, Vocab: 320, Type: quant.F32, Embed: quant.F32, Head: quant.F32, Seed: 1,
		})))
	})
	chaosEnds     = sync.OnceValue(func() *Ends { return endsOf(chaosFile()) })
	chaosManifest = sync.OnceValue(func() *gguf.Manifest { return must(gguf.BuildManifest(chaosFile())) })
)

// chaosGeneration is a generation and what came of it.
type chaosGeneration struct {
	chaosRequest
	name   string
	client *chaosClient
	target *Target
	model  *Model

	// What one machine gives.
	tokens []protocol.TokenID
	logits [][]byte // of each row

	rows  int    // of logits that came
	wrong string // what is wrong with them; "": nothing
	r     *Result
	err   error
	ended time.Time
	lost  time.Time // last loss of a hop
}

// prepare lets each client find the nodes, and computes what each generation has to give.
func (s *chaosSwarm) prepare() ([]*chaosGeneration, error) {
	var list []*chaosGeneration
	early := s.nodes[:len(s.nodes)-s.plan.late]
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, c := range s.clients {
		err := c.c.finder.Wait(ctx, func(d *discovery.Directory) bool { return len(d.Nodes()) == len(early) })
		if err != nil {
			return nil, fmt.Errorf("host %d does not find all nodes: %w", c.index, err)
		}
	}
	for i, q := range s.plan.requests {
		g := &chaosGeneration{chaosRequest: q, name: fmt.Sprintf("generation %d", i), client: s.clients[q.client]}
		var err error
		selector := Selector{Wire: q.wire}
		if q.local {
			selector.Model, selector.Ends = protocol.ModelID(chaosManifest().ID()).String(), chaosEnds()
		}
		if g.target, err = g.client.c.Find(ctx, selector, nil); err != nil {
			return nil, err
		}
		if g.model, err = g.client.c.Model(ctx, g.target); err != nil {
			return nil, err
		}
		g.target.Hops = nil // the plan chooses
		var rounds []uint32
		for _, n := range s.nodes[:s.plan.ranges] {
			st := n.life.node.Status()
			g.target.Hops = append(g.target.Hops, protocol.Hop{Peer: st.Peer, Addrs: st.Addrs, Layers: st.Layers})
			if q.wire == protocol.F16 && n.index > 0 {
				rounds = append(rounds, uint32(st.Layers.From))
			}
		}
		if g.tokens, g.logits, err = alone(&q.req, g.model, rounds); err != nil {
			return nil, err
		}
		list = append(list, g)
	}
	return list, nil
}

// alone generates on one machine.
func alone(req *Request, model *Model, rounds []uint32) (tokens []protocol.TokenID, logits [][]byte, err error) {
	cfg, err := layers.ParseConfig(chaosFile().Meta)
	if err != nil {
		return nil, nil, err
	}
	m, err := layers.Load(chaosFile(), cfg, protocol.LayerRange{To: cfg.NLayers}, layers.Options{KV: protocol.F16})
	if err != nil {
		return nil, nil, err
	}
	defer m.Close()
	draw := sampler.New(cfg.Vocab)
	history := slices.Clone(req.Tokens)
	cache := m.NewCache(len(history) + int(req.MaxTokens))
	var out layers.Output
	for row := 0; len(tokens) < int(req.MaxTokens); row++ {
		if err := m.Forward(cache, layers.Input{Tokens: history[row : row+1], Logits: []uint32{0}, Round: rounds}, &out); err != nil {
			return nil, nil, err
		}
		var raw []byte
		for _, v := range out.Logits {
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
		}
		logits = append(logits, raw)
		if row < len(req.Tokens)-1 {
			continue
		}
		token := draw.Sample(out.Logits, history, uint32(len(history)), req.Sampling)
		if model.Tokenizer.IsEnd(token) {
			break
		}
		tokens, history = append(tokens, token), append(history, token)
	}
	return tokens, logits, nil
}

// run generates.
func (g *chaosGeneration) run(s *chaosSwarm) {
	time.Sleep(g.at)
	req := g.req
	req.Logits = pipeline.LogitsPrompt
	g.r, g.err = g.client.c.Generate(g.client.ctx, g.target, g.model, &req, Observer{
		Logits: func(positions []int, rows []byte) { g.look(positions, rows) },
		Notice: func(n pipeline.Notice) {
			if l, ok := n.(pipeline.NoticeLost); ok && !l.Leaving {
				g.lost = time.Now()
			}
			s.logf("%s: %s", g.name, describe([]pipeline.Notice{n})[0])
		},
	})
	g.ended = time.Now()
	s.logf("%s has ended: %v", g.name, g.err)
}

// look compares logits as they come.
func (g *chaosGeneration) look(positions []int, rows []byte) {
	size := len(rows) / max(1, len(positions))
	for i, at := range positions {
		switch {
		case g.wrong != "":
		case at != g.rows:
			g.wrong = fmt.Sprintf("logits of row %d come after those of %d rows", at, g.rows)
		case at >= len(g.logits) || !bytes.Equal(rows[i*size:(i+1)*size], g.logits[at]):
			g.wrong = fmt.Sprintf("the logits of row %d are not those of one machine", at)
		}
		g.rows++
	}
}

// verdict says what is wrong with how a generation ended, "" if nothing is.
func (g *chaosGeneration) verdict(p *chaosPlan) string {
	switch {
	case g.wrong != "":
		return g.wrong
	case g.r == nil:
		return fmt.Sprintf("no result, %v", g.err)
	case len(g.r.Tokens) > len(g.tokens) || !slices.Equal(g.r.Tokens, g.tokens[:len(g.r.Tokens)]):
		return fmt.Sprintf("tokens %v, want %v", g.r.Tokens, g.tokens)
	case g.err == nil && len(g.r.Tokens) != len(g.tokens):
		return fmt.Sprintf("%d tokens, want %d", len(g.r.Tokens), len(g.tokens))
	case g.err == nil && g.rows != len(g.logits):
		return fmt.Sprintf("logits of %d rows, want %d", g.rows, len(g.logits))
	case p.calm && len(g.r.Report.Recoveries) > 0:
		return fmt.Sprintf("interrupted by nothing but frames that came again: %+v", g.r.Report.Recoveries[0])
	case g.err == nil, !g.client.died.IsZero() && errors.Is(g.err, context.Canceled):
		return ""
	}
	var failed *pipeline.FailedError
	var none *placement.NoRouteError
	switch {
	case !errors.As(g.err, &failed) || failed.Hop == nil || failed.Shard < 1 || !slices.Equal(failed.Generated, g.r.Tokens):
		return fmt.Sprintf("failed with %v", g.err)
	case g.req.FailFast:
		return ""
	case p.doomed.Len() == 0:
		return fmt.Sprintf("failed although nodes came back: %v", g.err)
	case !errors.As(g.err, &none) || !slices.ContainsFunc(none.Missing, func(l protocol.LayerRange) bool { return l.From <= p.doomed.From && p.doomed.To <= l.To }):
		return fmt.Sprintf("failed with %v, want that layers %s are missing", g.err, p.doomed)
	case g.ended.Sub(g.lost) > chaosRecover+time.Second:
		return fmt.Sprintf("failed %s after the last loss, want %s", g.ended.Sub(g.lost), chaosRecover)
	}
	return ""
}

// chaosRecover is the pipeline's default of --recover-timeout.
const chaosRecover = 30 * time.Second

// sessionProtocols are those whose streams belong to sessions.
var sessionProtocols = []libp2pproto.ID{p2p.SessionProtocol, p2p.LinkProtocol, p2p.MoveProtocol}

// leftovers tells what sessions have left at a node.
func (n *chaosNode) leftovers() string {
	l := n.process()
	if l == nil {
		return ""
	}
	var list []string
	if st := l.node.Engine().Stats(); st.Sessions != 0 || st.KVUsed != 0 || st.KeptUsed != 0 || st.Buffered != 0 {
		list = append(list, fmt.Sprintf("%d sessions, %d bytes of KV, %d of outputs, %d buffered", st.Sessions, st.KVUsed, st.KeptUsed, st.Buffered))
	}
	for _, id := range streams(l.node.Host(), "", p2p.SessionProtocol, p2p.MoveProtocol) {
		list = append(list, "a stream "+string(id))
	}
	return strings.Join(list, ", ")
}

// streams lists the open streams of a host to a peer, "" for all, that are of some protocols.
func streams(h *p2p.Host, peer string, ids ...libp2pproto.ID) []libp2pproto.ID {
	var list []libp2pproto.ID
	for _, c := range h.Libp2p().Network().Conns() {
		if peer != "" && c.RemotePeer().String() != peer {
			continue
		}
		for _, s := range c.GetStreams() {
			if slices.Contains(ids, s.Protocol()) {
				list = append(list, s.Protocol())
			}
		}
	}
	return list
}

// chaosGoroutines lists the stacks of this bubble's other goroutines that are wanted.
func chaosGoroutines(wanted func(stack string) bool) []string {
	buf := make([]byte, 1<<20)
	for {
		if n := runtime.Stack(buf, true); n < len(buf) {
			buf = buf[:n]
			break
		}
		buf = make([]byte, 2*len(buf))
	}
	all := strings.Split(string(buf), "\n\n")
	bubble := bubbleOf.FindString(all[0])
	var list []string
	for _, stack := range all[1:] {
		header, _, _ := strings.Cut(stack, "\n")
		if strings.Contains(header, bubble) && wanted(stack) {
			list = append(list, stack)
		}
	}
	return list
}

var bubbleOf = regexp.MustCompile(`synctest bubble \d+\]`)

// ofSessions reports whether a goroutine serves a session or a generation, or watches a peer for one.
func ofSessions(stack string) bool {
	return slices.ContainsFunc([]string{
		"pkg/engine.(*Session)", "pkg/p2p.(*session)", "pkg/p2p.(*watch).run", "pkg/p2p.(*Host).serveSession", "pkg/p2p.(*Host).serveLink",
		"pkg/p2p.(*Host).serveMove", "pkg/pipeline.",
	}, func(name string) bool { return strings.Contains(stack, "shardnode/shardnode/"+name) })
}

// notOfTest reports whether a goroutine is not the test's own.
func notOfTest(stack string) bool {
	return !strings.Contains(stack, "testing/synctest.Test(") && !strings.Contains(stack, "testing/synctest.testingSynctestTest")
}
