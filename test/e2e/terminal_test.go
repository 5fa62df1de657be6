// SPDX-License-Identifier: MIT

//go:build unix

package e2e

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"github.com/creack/pty"
	"github.com/rogpeppe/go-internal/testscript"
)

// terminal NAME PROGRAM ARG...
// It runs the program in a terminal, in the background. What the terminal shows is in the file NAME.out.
func cmdTerminal(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) >= 2, "terminal NAME PROGRAM ARG...")
	proc := &process{name: args[0], log: ts.MkAbs(args[0] + ".out"), done: make(chan struct{})}
	shown, err := os.Create(proc.log)
	ts.Check(err)
	proc.cmd = exec.Command(filepath.Join(programs, args[1]), args[2:]...)
	proc.cmd.Dir, proc.cmd.Env = ts.MkAbs("."), append(environment(ts), "TERM=xterm")
	proc.tty, err = pty.StartWithSize(proc.cmd, &pty.Winsize{Rows: 24, Cols: 120})
	ts.Check(err)
	go func() {
		_, _ = io.Copy(shown, proc.tty) // ends with an error when the program does
		_ = shown.Close()
		_ = proc.cmd.Wait() // its state says it all
		_ = proc.tty.Close()
		close(proc.done)
	}()
	p := background(ts)
	p.list = append(p.list, proc)
}

// type NAME TEXT
// It types the text, in which \r is Enter and \x03 Ctrl-C, into the terminal of that name.
func cmdType(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "type NAME TEXT")
	text, err := strconv.Unquote(`"` + args[1] + `"`)
	ts.Check(err)
	tty := background(ts).find(ts, args[0]).tty
	if tty == nil {
		ts.Fatalf("%s runs in no terminal", args[0])
	}
	_, err = tty.WriteString(text)
	ts.Check(err)
}
