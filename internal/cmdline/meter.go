// SPDX-License-Identifier: MIT

package cmdline

import (
	"fmt"
	"io"
	"os"
	"time"
)

// Meter shows on stderr how far a long computation is: one line, rewritten, on a terminal, and otherwise a line now and then.
type Meter struct {
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

// NewMeter returns a meter that writes to w.
func NewMeter(w io.Writer) *Meter {
	m := &Meter{w: w, terminal: IsTerminal(w)}
	if !m.terminal {
		m.next = time.Now().Add(meterLine) // short work needs no line
	}
	return m
}

// Show prints the line if it is time to.
func (m *Meter) Show(format string, args ...any) {
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

// Clear removes the unfinished line.
func (m *Meter) Clear() {
	if m.shown {
		fmt.Fprint(m.w, "\r\x1b[K")
		m.shown = false
	}
}

// IsTerminal reports whether w is an interactive terminal.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
