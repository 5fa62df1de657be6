// SPDX-License-Identifier: MIT

package p2p

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/quic-go/quic-go"
	"golang.org/x/sync/errgroup"

	"github.com/shardnode/shardnode/pkg/protocol"
)

const (
	// maxLinks bounds the peers whose links are remembered; the one measured longest ago is forgotten first.
	maxLinks = 256
	// tripsAtOnce is how many round trips a measurement takes, tripPause apart: what delays one packet often delays the next.
	tripsAtOnce = 17
	tripPause   = 20 * time.Millisecond
	// trainBeats is how many beats are sent to count what is lost, at least trainLeast apart, and twice the jitter, so that none is
	// overtaken by three others: QUIC would take it for lost. No more than trainMost, or it would take too long.
	trainBeats = 300
	trainLeast = time.Millisecond
	trainMost  = 15 * time.Millisecond
	// burstEvery is how old a bandwidth may be.
	burstEvery = 10 * time.Minute
	// burstBytes is the size of a burst: what grows the congestion window so far that 64 KiB go out at once.
	burstBytes = 1 << 20
	// burstSlow ends a burst that takes longer, and is how long it may take for a second one to be worth it: the first grows the window, the
	// second shows the bandwidth.
	burstSlow = 2 * time.Second
	// windowShare is the part of the congestion window that what is on the way may take: if it takes more, the window was the limit, which
	// loss and reordering keep small, and the bandwidth stays unknown.
	windowShare = 0.7
	// measureTime bounds a measurement, and an answer to who asks for links.
	measureTime = 15 * time.Second
	// measuredAtOnce is how many links are measured at a time, bursts excepted: those go one by one.
	measuredAtOnce = 8
)

// links are the estimates of the links to peers.
type links struct {
	bursting  chan struct{} // capacity 1: held while a burst is sent
	measuring chan struct{} // capacity 1: held while links are measured for who asked

	mu sync.Mutex // guards all following fields
	m  map[peer.ID]*measured
}

// measured is the estimate of one, and what it was made from.
type measured struct {
	estimate

	at      time.Time // of the last measurement
	burstAt time.Time
}

// of returns the entry of p, a new one if there is none. l.mu is held.
func (l *links) of(p peer.ID) *measured {
	if m := l.m[p]; m != nil {
		return m
	}
	if len(l.m) >= maxLinks {
		var oldest peer.ID
		for id, m := range l.m {
			if o := l.m[oldest]; o == nil || m.at.Before(o.at) {
				oldest = id
			}
		}
		delete(l.m, oldest)
	}
	m := new(measured)
	l.m[p] = m
	return m
}

// Link returns what has been measured of the way to p, and when; the zero time says never.
func (h *Host) Link(p peer.ID) (protocol.LinkEstimate, time.Time) {
	h.links.mu.Lock()
	defer h.links.mu.Unlock()
	m := h.links.m[p]
	if m == nil || m.nTrips == 0 {
		return protocol.LinkEstimate{Peer: p.String()}, time.Time{}
	}
	return m.link(p.String()), m.at
}

// MeasureLink measures round trips to p, which it connects to, what is lost on the way there, and the bandwidth if that is not known or old.
// It takes some seconds on a link with jitter, and [Host.Link] knows the result.
func (h *Host) MeasureLink(ctx context.Context, pi peer.AddrInfo) error {
	ctx, cancel := context.WithTimeout(ctx, measureTime)
	defer cancel()
	err := h.ask(ctx, pi, &question{op: "measure the way to", id: BeatProtocol, limits: beatLimits, run: h.measureTrips})
	if err == nil {
		err = h.ask(ctx, pi, &question{op: "count the losses to", id: BeatProtocol, limits: beatLimits, run: h.measureTrain})
	}
	if err != nil {
		return err
	}
	h.links.mu.Lock()
	fresh := time.Since(h.links.of(pi.ID).burstAt) < burstEvery
	h.links.mu.Unlock()
	if fresh {
		return nil
	}
	select {
	case h.links.bursting <- struct{}{}:
		defer func() { <-h.links.bursting }()
	case <-ctx.Done():
		return ctx.Err()
	}
	return h.ask(ctx, pi, &question{op: "measure the bandwidth to", id: MeasureProtocol, limits: measureLimits, run: h.measureBurst})
}

// measureTrips has beats answered, one after the other.
func (h *Host) measureTrips(ctx context.Context, s *Stream) error {
	var f, back protocol.Beat
	for f.Number = range tripsAtOnce {
		sent := time.Now()
		if err := s.WriteFrame(&f); err != nil {
			return err
		}
		if err := expect(s, &back); err != nil {
			return err
		}
		if back.Number != f.Number {
			return errors.New("another beat came back")
		}
		// The first opens the stream: what is negotiated is not the link's.
		if took := time.Since(sent); f.Number > 0 {
			h.learn(s, func(m *measured) { m.trip(took) })
		}
		pause := time.NewTimer(tripPause)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return ctx.Err()
		}
	}
	return nil
}

// learn changes what is known of the peer of s.
func (h *Host) learn(s *Stream, change func(*measured)) {
	h.links.mu.Lock()
	defer h.links.mu.Unlock()
	m := h.links.of(s.Peer())
	m.at = time.Now()
	change(m)
}

// measureTrain sends beats without waiting for them, and counts the packets that QUIC takes for lost meanwhile. Other transports do not
// tell: nothing is lost there.
func (h *Host) measureTrain(ctx context.Context, s *Stream) error {
	var c *quic.Conn
	if !s.ns.Conn().As(&c) {
		return nil
	}
	l, _ := h.Link(s.Peer())
	pause := min(max(2*time.Duration(l.Jitter), trainLeast), trainMost)
	before := c.ConnectionStats()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		var back protocol.Beat
		for range trainBeats {
			if err := expect(s, &back); err != nil {
				return err
			}
		}
		return nil
	})
	group.Go(func() error {
		var f protocol.Beat
		ticker := time.NewTicker(pause)
		defer ticker.Stop()
		for f.Number = range trainBeats {
			if err := s.WriteFrame(&f); err != nil {
				return err
			}
			select {
			case <-ticker.C:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	if err := group.Wait(); err != nil {
		return err
	}
	after := c.ConnectionStats()
	h.learn(s, func(m *measured) {
		m.packets(int64(after.PacketsSent-before.PacketsSent), int64(after.PacketsLost-before.PacketsLost))
	})
	return nil
}

// measureBurst sends one, and a second one if the first was quick.
func (h *Host) measureBurst(_ context.Context, s *Stream) error {
	l, _ := h.Link(s.Peer())
	for range 2 {
		began := time.Now()
		sent := uint32(0)
		f := &protocol.Burst{Rest: burstBytes, Pad: make([]byte, protocol.MaxBurstPart)}
		for f.Rest > 0 {
			if f.Rest -= protocol.MaxBurstPart; time.Since(began) > burstSlow {
				f.Rest = 0
			}
			if err := s.WriteFrame(f); err != nil {
				return err
			}
			sent += protocol.MaxBurstPart
		}
		var taken protocol.BurstTaken
		if err := expect(s, &taken); err != nil {
			return err
		}
		took := time.Since(began)
		if taken.Bytes != sent-protocol.MaxBurstPart {
			return fmt.Errorf("%d bytes of a burst came, %d were sent", taken.Bytes, sent-protocol.MaxBurstPart)
		}
		// Nobody receives much faster than we have sent: a peer that says so does not look better for it.
		nanos := max(taken.Nanos, uint64(took.Nanoseconds())/8, 1)
		rate := float64(taken.Bytes) / (float64(nanos) / 1e9)
		h.learn(s, func(m *measured) {
			m.burstAt = time.Now()
			if rate*time.Duration(l.RTT).Seconds() < windowShare*congestionWindow(s) {
				m.burst(rate)
			}
		})
		if took > burstSlow {
			return nil
		}
	}
	return nil
}

// congestionWindow is how many bytes may be on the way to the peer; of transports that do not tell: any number.
func congestionWindow(s *Stream) float64 {
	var c *quic.Conn
	if !s.ns.Conn().As(&c) {
		return math.Inf(1)
	}
	return float64(c.ConnectionStats().CongestionWindow)
}

// Links asks a node what its links are like. It measures those to want that it does not know.
func (h *Host) Links(ctx context.Context, pi peer.AddrInfo, want []protocol.Contact) ([]protocol.LinkEstimate, error) {
	var answer protocol.Links
	err := h.ask(ctx, pi, &question{
		op: "ask for the links of", id: MeasureProtocol, limits: measureLimits, within: measureTime + requestTimeout,
		run: func(_ context.Context, s *Stream) error {
			if err := s.WriteFrame(&protocol.LinksRequest{Want: want[:min(len(want), protocol.MaxLinks)]}); err != nil {
				return err
			}
			return expect(s, &answer)
		},
	})
	return answer.Links, err
}

// serveMeasure answers bursts and questions for links.
func (h *Host) serveMeasure(ctx context.Context, s *Stream) {
	for {
		t, body, err := s.Next()
		if err == nil {
			switch t {
			case protocol.TypeLinksRequest:
				err = h.answerLinks(ctx, s, body)
			case protocol.TypeBurst:
				err = takeBurst(s, body)
			default:
				err = protocol.Errorf(protocol.CodeBadFrame, "frame type %d is no question", t)
			}
		}
		if err != nil {
			hangUp(s, err)
			return
		}
	}
}

// takeBurst reads what follows the first part of a burst, and tells how long it took.
func takeBurst(s *Stream, body []byte) error {
	var f protocol.Burst
	if err := s.decode(body, &f); err != nil {
		return err
	}
	rest, first := f.Rest, time.Now()
	var taken protocol.BurstTaken
	for rest > 0 {
		if err := expect(s, &f); err != nil {
			return err
		}
		n := uint32(len(f.Pad))
		if n > rest || f.Rest > rest-n {
			return errors.New("a burst of more than it said")
		}
		rest = f.Rest
		taken.Bytes += n
	}
	taken.Nanos = delay(float64(time.Since(first)))
	return s.WriteFrame(&taken)
}

// answerLinks tells what is known of links, after measuring those wanted that are not.
func (h *Host) answerLinks(ctx context.Context, s *Stream, body []byte) error {
	var f protocol.LinksRequest
	if err := s.decode(body, &f); err != nil {
		return err
	}
	if !h.cfg.DialOnly {
		h.measureWanted(ctx, f.Want)
	}
	told := map[peer.ID]bool{}
	answer := &protocol.Links{}
	tell := func(p peer.ID) {
		if l, at := h.Link(p); !at.IsZero() && !told[p] && len(answer.Links) < protocol.MaxLinks {
			told[p] = true
			answer.Links = append(answer.Links, l)
		}
	}
	for _, c := range f.Want {
		if id, err := peer.Decode(c.Peer); err == nil {
			tell(id)
		}
	}
	h.links.mu.Lock()
	known := make([]peer.ID, 0, len(h.links.m))
	for id := range h.links.m {
		known = append(known, id)
	}
	h.links.mu.Unlock()
	for _, id := range known {
		tell(id)
	}
	return s.WriteFrame(answer)
}

// measureWanted measures the links to peers that are not known, for one asker at a time.
func (h *Host) measureWanted(ctx context.Context, want []protocol.Contact) {
	ctx, cancel := context.WithTimeout(ctx, measureTime)
	defer cancel()
	select {
	case h.links.measuring <- struct{}{}:
		defer func() { <-h.links.measuring }()
	case <-ctx.Done():
		return
	}
	var group errgroup.Group
	group.SetLimit(measuredAtOnce)
	for i := range want {
		pi, err := hopInfo(&protocol.Hop{Peer: want[i].Peer, Addrs: want[i].Addrs})
		if err != nil || pi.ID == h.ID() {
			continue
		}
		if _, at := h.Link(pi.ID); !at.IsZero() {
			continue
		}
		group.Go(func() error {
			_ = h.MeasureLink(ctx, pi) // what could not be measured is not told
			return nil
		})
	}
	_ = group.Wait()
}
