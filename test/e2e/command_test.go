// SPDX-License-Identifier: MIT

//go:build unix

package e2e

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/shardnode/shardnode/internal/quant"
	"github.com/shardnode/shardnode/models"
	"github.com/shardnode/shardnode/pkg/gguf"
)

func usage(ts *testscript.TestScript, ok bool, form string) {
	if !ok {
		ts.Fatalf("usage: %s", form)
	}
}

// limited takes limit=DURATION off the front of args, patience where there is none.
func limited(ts *testscript.TestScript, args []string) (time.Duration, []string) {
	if len(args) == 0 || !strings.HasPrefix(args[0], "limit=") {
		return patience, args
	}
	limit, err := time.ParseDuration(strings.TrimPrefix(args[0], "limit="))
	ts.Check(err)
	return limit, args[1:]
}

// poll asks until the answer is yes.
func poll(ts *testscript.TestScript, what string, limit time.Duration, ask func() (bool, error)) {
	deadline := time.After(limit)
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, err := ask()
		if err != nil {
			ts.Fatalf("%s: %v", what, err)
		}
		if ok {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			ts.Fatalf("%s: not within %v", what, limit)
		}
	}
}

// await [limit=DURATION] PATTERN FILE
// It waits until the growing file matches.
func cmdAwait(ts *testscript.TestScript, neg bool, args []string) {
	limit, args := limited(ts, args)
	usage(ts, !neg && len(args) == 2, "await [limit=DURATION] PATTERN FILE")
	re, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	poll(ts, args[1]+" matches "+args[0], limit, func() (bool, error) {
		raw, err := os.ReadFile(ts.MkAbs(args[1]))
		return re.Match(raw), err
	})
}

// capture VAR
// It sets the variable to what the last program printed.
func cmdCapture(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "capture VAR")
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile("stdout")))
}

// until [limit=DURATION] PATTERN PROGRAM ARG...
// It runs the program until what it prints matches.
func cmdUntil(ts *testscript.TestScript, neg bool, args []string) {
	limit, args := limited(ts, args)
	usage(ts, !neg && len(args) >= 2, "until [limit=DURATION] PATTERN PROGRAM ARG...")
	re, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	poll(ts, args[1]+" prints "+args[0], limit, func() (bool, error) {
		cmd := exec.Command(filepath.Join(programs, args[1]), args[2:]...)
		cmd.Dir, cmd.Env = ts.MkAbs("."), environment(ts)
		out, _ := cmd.CombinedOutput() // what is printed tells of an error
		return re.Match(out), nil
	})
}

// exits CODE LIMIT PROGRAM ARG...
// The program ends with that exit code, and within the limit.
func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) >= 3, "exits CODE LIMIT PROGRAM ARG...")
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	limit, err := time.ParseDuration(args[1])
	ts.Check(err)
	started := time.Now()
	err = ts.Exec(args[2], args[3:]...)
	code := 0
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if code != want {
		ts.Fatalf("exit code %d, want %d", code, want)
	}
	if took := time.Since(started); took > limit {
		ts.Fatalf("it took %v, want %v at the most", took, limit)
	}
}

// model [head=BYTES | flip] FILE
// It writes the demo model: as it is, its first bytes only, or with another weight.
func cmdModel(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && (len(args) == 1 || len(args) == 2), "model [head=BYTES | flip] FILE")
	data := append([]byte(nil), models.Demo()...)
	if len(args) == 2 {
		if m := regexp.MustCompile(`^head=([0-9]+)$`).FindStringSubmatch(args[0]); m != nil {
			n, err := strconv.Atoi(m[1])
			ts.Check(err)
			data = data[:n]
		} else {
			usage(ts, args[0] == "flip", "model [head=BYTES | flip] FILE")
			flipLastWeight(ts, data)
		}
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[len(args)-1]), data, 0o600))
}

// flipLastWeight changes one bit in the last byte of the tensor that comes last.
func flipLastWeight(ts *testscript.TestScript, data []byte) {
	f, err := gguf.Parse(data)
	ts.Check(err)
	defer f.Close()
	last := &f.Tensors[0]
	for i := range f.Tensors {
		if f.Tensors[i].Offset > last.Offset {
			last = &f.Tensors[i]
		}
	}
	b := f.Data(last)
	b[len(b)-1] ^= 1
}

// sparse MIB FILE
// It writes a file with one tensor of so many MiB, all zeros, that takes no room on disk.
func cmdSparse(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "sparse MIB FILE")
	mib, err := strconv.ParseUint(args[0], 10, 20)
	ts.Check(err)
	var file bytes.Buffer
	ts.Check(gguf.Write(&file, &gguf.Metadata{}, []gguf.TensorData{{Name: "w", Type: quant.F32, Dims: []uint64{8}, Data: make([]byte, 32)}}))
	number := func(n uint64) []byte { return binary.LittleEndian.AppendUint64(nil, n) }
	raw := bytes.Replace(file.Bytes(), number(8), number(mib<<18), 1)
	path := ts.MkAbs(args[1])
	ts.Check(os.WriteFile(path, raw, 0o600))
	ts.Check(os.Truncate(path, int64(len(raw))-32+int64(mib)<<20))
}

// occupy VAR [PORT]
// It takes a UDP and TCP port of all interfaces till the end of the script, and names it in the variable.
func cmdOccupy(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && (len(args) == 1 || len(args) == 2), "occupy VAR [PORT]")
	port := 0
	if len(args) == 2 {
		var err error
		port, err = strconv.Atoi(args[1])
		ts.Check(err)
	}
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{Port: port})
	ts.Check(err)
	ts.Defer(func() { _ = conn.Close() })
	port = conn.LocalAddr().(*net.UDPAddr).Port
	ts.Setenv(args[0], strconv.Itoa(port))
}
