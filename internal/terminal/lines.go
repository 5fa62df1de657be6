// SPDX-License-Identifier: MIT

// Package terminal reads lines from who uses a program: at a terminal with editing, history and completion, else as they come. It knows nothing
// of what lines mean. `coordinator chat` uses it.
package terminal

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// ErrInterrupted is Ctrl-C while a line is edited.
var ErrInterrupted = errors.New("interrupted")

// Config says how lines are read.
type Config struct {
	In      io.Reader
	Out     io.Writer // where what is edited is shown
	MaxLine int       // bytes of one that comes from a file or another program
	History string    // file of the lines entered; "": they are forgotten

	// Complete finishes a line at Tab, where that makes sense; nil: none is.
	Complete func(line string) string
}

// Lines reads them. Who waits for a line may do something else meanwhile, and find it later. It belongs to one goroutine, and has another
// one that reads.
type Lines struct {
	Interactive bool // it reads from a terminal
	scanner     *bufio.Scanner

	cfg      Config
	terminal *term.Terminal
	keys     *keys
	fd       int
	history  *history

	reading bool // a line is being read, or was and waits in next
	next    chan Entered
	raw     chan *term.State // what to restore, while a line is edited
}

// Entered is a line, or why there is none.
type Entered struct {
	Text string
	Err  error // io.EOF, also for Ctrl-D; [ErrInterrupted]
}

// Open begins. Nothing is read yet.
func Open(cfg Config) *Lines {
	l := &Lines{cfg: cfg, next: make(chan Entered, 1), raw: make(chan *term.State, 1)}
	in, ok := cfg.In.(*os.File)
	if out, isFile := cfg.Out.(*os.File); !ok || !isFile || !term.IsTerminal(int(in.Fd())) || !term.IsTerminal(int(out.Fd())) {
		l.scanner = bufio.NewScanner(cfg.In)
		l.scanner.Buffer(nil, cfg.MaxLine)
		return l
	}
	l.Interactive, l.fd, l.keys, l.history = true, int(in.Fd()), &keys{r: cfg.In, w: cfg.Out}, openHistory(cfg.History)
	l.newTerminal()
	return l
}

func (l *Lines) newTerminal() {
	l.terminal = term.NewTerminal(l.keys, "")
	l.terminal.History = l.history
	l.terminal.AutoCompleteCallback = l.complete
}

// Close gives the terminal back as it was.
func (l *Lines) Close() {
	select {
	case state := <-l.raw:
		_ = term.Restore(l.fd, state) // nothing can be done about it
	default:
	}
}

// complete is what a Terminal asks at each key.
func (l *Lines) complete(line string, pos int, key rune) (string, int, bool) {
	if key != '\t' {
		return "", 0, false
	}
	if l.cfg.Complete != nil && pos == len(line) {
		line = l.cfg.Complete(line)
		pos = len(line)
	}
	return line, pos, true
}

// Read returns a channel that gives the next line, once. Who has it calls Took. What goes before is shown on a terminal only.
func (l *Lines) Read(prompt string) <-chan Entered {
	if !l.reading {
		l.reading = true
		go func() { l.next <- l.line(prompt) }()
	}
	return l.next
}

// Took says that the line was received.
func (l *Lines) Took() { l.reading = false }

// line reads one, with those that it goes on in.
func (l *Lines) line(prompt string) Entered {
	var text strings.Builder
	for {
		part, pasted, err := l.part(prompt)
		if err != nil {
			return Entered{Err: err}
		}
		more, continued := strings.CutSuffix(part, `\`)
		if text.WriteString(more); !continued && !pasted {
			return Entered{Text: text.String()}
		}
		text.WriteByte('\n')
		prompt = "… "
	}
}

// part reads a line as it was entered. pasted says that it came with others, as a text that is not to be taken for several questions.
func (l *Lines) part(prompt string) (line string, pasted bool, err error) {
	if !l.Interactive {
		if !l.scanner.Scan() {
			if err = l.scanner.Err(); err == nil {
				err = io.EOF
			}
			return "", false, err
		}
		return strings.TrimSuffix(l.scanner.Text(), "\r"), false, nil
	}
	state, err := term.MakeRaw(l.fd)
	if err != nil {
		return "", false, err
	}
	l.raw <- state
	defer l.Close()
	if w, h, err := term.GetSize(l.fd); err == nil {
		_ = l.terminal.SetSize(w, h) // a line that breaks elsewhere is no harm
	}
	l.terminal.SetPrompt(prompt)
	l.terminal.SetBracketedPasteMode(true)
	defer l.terminal.SetBracketedPasteMode(false)
	l.keys.interrupted = false
	line, err = l.terminal.ReadLine()
	switch {
	case errors.Is(err, term.ErrPasteIndicator):
		return line, true, nil
	case err != nil:
		_, _ = io.WriteString(l.keys, "\r\n")
		if l.keys.interrupted {
			l.newTerminal() // the old one keeps the line that was given up
			return "", false, ErrInterrupted
		}
	}
	return line, false, err
}

// keys is the terminal as a Terminal sees it, which does not tell Ctrl-C from Ctrl-D: what one Read gives ends with a Ctrl-C at the latest.
type keys struct {
	r           io.Reader
	w           io.Writer
	buf         [256]byte
	rest        []byte // of buf: read, and not given yet
	interrupted bool
}

const ctrlC = 3

func (k *keys) Read(p []byte) (int, error) {
	if len(k.rest) == 0 {
		n, err := k.r.Read(k.buf[:])
		if err != nil {
			return 0, err
		}
		k.rest = k.buf[:n]
	}
	given := k.rest
	if i := bytes.IndexByte(given, ctrlC); i >= 0 {
		given = given[:i+1]
	}
	n := copy(p, given)
	k.rest = k.rest[n:]
	k.interrupted = n > 0 && p[n-1] == ctrlC
	return n, nil
}

func (k *keys) Write(p []byte) (int, error) { return k.w.Write(p) }
