// SPDX-License-Identifier: MIT

package p2p

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"pgregory.net/rapid"
)

// TestSilence walks testdata/silence: each file is a story, each block a stretch of time and what the watcher saw and
// concluded. Regenerate with -rewrite.
func TestSilence(t *testing.T) {
	t.Parallel()
	datadriven.Walk(t, "testdata/silence", func(t *testing.T, path string) {
		var w *watched
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "start" {
				w = newWatched()
				return w.state()
			}
			return w.command(t, d)
		})
	})
}

// watched plays a peer to a silence, in time of its own.
type watched struct {
	silence
	zero, at time.Time
	answers  []sentAnswer // on their way, by time
	lost     bool
}

type sentAnswer struct {
	number uint64
	at     time.Time
}

func newWatched() *watched {
	w := &watched{zero: time.Unix(1000, 0)}
	w.at = w.zero
	w.start(w.at)
	return w
}

// conduct says how the peer behaves for a while.
type conduct struct {
	rtt    func() time.Duration // of the next beat; negative: never answered
	hears  bool                 // other packets come with each beat
	late   time.Duration        // our own ticks come late by so much
	asleep bool                 // we do not run at all
}

// pass lets time go by; it stops when the peer is found silent.
func (w *watched) pass(d time.Duration, p conduct) {
	end := w.at.Add(d)
	if p.asleep {
		w.at = end
		return
	}
	for !w.lost {
		next := w.wake().Add(p.late)
		if next.Before(w.at) {
			next = w.at // overdue: we slept
		}
		if len(w.answers) > 0 && !w.answers[0].at.After(next) {
			a := w.answers[0]
			if a.at.After(end) {
				break
			}
			w.answers = w.answers[1:]
			if a.at.After(w.at) {
				w.at = a.at
			}
			w.answer(w.at, a.number)
			continue
		}
		if next.After(end) {
			break
		}
		w.at = next
		if p.hears {
			w.hear(w.at)
		}
		number, silent := w.tick(w.at)
		w.lost = silent
		if number > 0 {
			if rtt := p.rtt(); rtt >= 0 {
				at := w.at.Add(rtt)
				if n := len(w.answers); n > 0 && at.Before(w.answers[n-1].at) {
					at = w.answers[n-1].at // a stream keeps order
				}
				w.answers = append(w.answers, sentAnswer{number, at})
			}
		}
	}
	if !w.lost {
		w.at = end
	}
}

func (w *watched) state() string {
	ms := func(d time.Duration) string { return fmt.Sprint(d.Round(time.Millisecond)) }
	if w.lost {
		return fmt.Sprintf("%s: silent, nothing heard for %s\n", ms(w.at.Sub(w.zero)), ms(w.at.Sub(w.heard)))
	}
	return fmt.Sprintf("%s: alive, %d beats out, deadline %s\n", ms(w.at.Sub(w.zero)), len(w.sent), ms(w.deadline()))
}

func (w *watched) command(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	duration := func(key string) time.Duration {
		var text string
		if d.MaybeScanArgs(t, key, &text); text == "" {
			return 0
		}
		v, err := time.ParseDuration(text)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	p := conduct{hears: d.HasArg("packets"), late: duration("late"), asleep: d.Cmd == "we-sleep"}
	rtt := duration("rtt")
	switch d.Cmd {
	case "transport": // tells its round trip
		w.seed(rtt, duration("dev"))
		return w.state()
	case "answers": // the peer answers
		p.rtt = func() time.Duration { return rtt }
	case "dead": // it does not
		p.rtt = func() time.Duration { return -1 }
	case "we-sleep": // and comes to nothing: the peer's answers wait
	default:
		t.Fatalf("unknown command %q", d.Cmd)
	}
	w.pass(duration("for"), p)
	return w.state()
}

// A peer that answers within what it was seen to take, or half of the least deadline, is never silent, however late our
// own ticks are and however often this process sleeps.
func TestLivePeerIsNeverSilent(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		w := newWatched()
		base := time.Duration(rapid.IntRange(0, 340).Draw(t, "base ms")) * time.Millisecond
		jitter := time.Duration(rapid.IntRange(0, 10).Draw(t, "jitter ms")) * time.Millisecond
		p := conduct{
			rtt:  func() time.Duration { return base + time.Duration(r.Int64N(int64(jitter)+1)) },
			late: time.Duration(rapid.IntRange(0, 300).Draw(t, "late ms")) * time.Millisecond,
		}
		for range 20 {
			w.pass(time.Duration(r.Int64N(int64(20*time.Second))), p)
			if w.lost {
				t.Fatalf("a peer that answers in %v to %v is taken for silent: %s", base, base+jitter, w.state())
			}
			w.pass(time.Duration(r.Int64N(int64(time.Hour))), conduct{asleep: true})
		}
	})
}

// A peer whose packets arrive is alive, even if no answer ever does.
func TestPacketsAreLife(t *testing.T) {
	t.Parallel()
	w := newWatched()
	w.pass(time.Hour, conduct{rtt: func() time.Duration { return -1 }, hears: true})
	if w.lost {
		t.Error(w.state())
	}
	if n := len(w.sent); n > beatsOut {
		t.Errorf("%d beats are kept", n)
	}
}

// A dead peer is found within its deadline and a beat, whatever happened before; late ticks delay that in proportion.
func TestDeadPeerIsFound(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 2))
		w := newWatched()
		most := int64(rapid.IntRange(1, 300).Draw(t, "rtt ms")) * int64(time.Millisecond)
		w.pass(time.Duration(r.Int64N(int64(5*time.Minute))), conduct{rtt: func() time.Duration { return time.Duration(r.Int64N(most)) }})
		if w.lost {
			t.Fatalf("lost before it died, though it answered in less than %d ms: %s", most/int64(time.Millisecond), w.state())
		}
		late := time.Duration(rapid.IntRange(0, 1000).Draw(t, "late ms")) * time.Millisecond
		deadline, died := w.deadline(), w.at
		w.answers = nil
		w.pass(10*time.Minute, conduct{rtt: func() time.Duration { return -1 }, late: late})
		// Each look counts for a quarter of itself at least when it comes a second late.
		limit := deadline + 2*beatEvery
		if late > 0 {
			looks := (limit+attention)/beatEvery + 2
			limit += looks * late
		}
		if took := w.at.Sub(died); !w.lost || took > limit {
			t.Fatalf("dead for %v, deadline %v, ticks %v late, limit %v: %s", took, deadline, late, limit, w.state())
		}
	})
}

// An answer that nobody waits for teaches nothing.
func TestStrangeAnswers(t *testing.T) {
	t.Parallel()
	w := newWatched()
	w.answer(w.at, 7)
	w.pass(beatEvery, conduct{rtt: func() time.Duration { return -1 }})
	w.answer(w.at, 0)
	w.answer(w.at, 99)
	if w.sampled || len(w.sent) == 0 {
		t.Errorf("sampled %v, %d beats out", w.sampled, len(w.sent))
	}
	first := w.sent[0].number
	w.answer(w.at, first)
	w.answer(w.at, first)
	if !w.sampled || strings.Contains(w.state(), "silent") {
		t.Error(w.state())
	}
}
