// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"io"
	"time"
)

// meter shows on stderr how far a long computation is: one line, rewritten, on a terminal, and otherwise a line now and then.
type meter struct {
	w        io.Writer
	terminal bool
	next     time.Time // not before
	shown    bool      // an unfinished line stands on the terminal
}

// How often a line is shown.
const (
	meterTick = 100 * time.Millisecond // on a terminal
	meterLine = 10 * time.Second       // in a log
)

func newMeter(w io.Writer) *meter {
	m := &meter{w: w, terminal: isTerminal(w)}
	if !m.terminal {
		m.next = time.Now().Add(meterLine) // short work needs no line
	}
	return m
}

// show prints the line if it is time to.
func (m *meter) show(format string, args ...any) {
	now := time.Now()
	if now.Before(m.next) {
		return
	}
	if m.terminal {
		m.next, m.shown = now.Add(meterTick), true
		fmt.Fprintf(m.w, "\r\x1b[K"+format, args...)
		return
	}
	m.next = now.Add(meterLine)
	fmt.Fprintf(m.w, format+"\n", args...)
}

// clear removes the unfinished line.
func (m *meter) clear() {
	if m.shown {
		fmt.Fprint(m.w, "\r\x1b[K")
		m.shown = false
	}
}
