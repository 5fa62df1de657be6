// SPDX-License-Identifier: MIT

package api

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/shardnode/shardnode/internal/node"
)

// scrubbed are parts of answers that differ from run to run.
var scrubbed = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`(chatcmpl-|cmpl-)[a-z2-7]{26}`), "${1}ID"},
	{regexp.MustCompile(`"created":[0-9]+`), `"created":TIME`},
	{regexp.MustCompile(`[0-9a-f]{8}/n`), "MODEL/n"},
	{regexp.MustCompile(`\([0-9a-f]{8}\)`), "(MODEL)"},
	{regexp.MustCompile(`127\.0\.0\.1:[0-9]+`), "SERVER"},
}

// shownHeaders are those that a transcript has.
var shownHeaders = []string{"Content-Type", "Allow", "WWW-Authenticate", "Access-Control-Allow-Origin", "Access-Control-Allow-Methods", "Access-Control-Allow-Headers", "Vary"}

// TestTranscripts sends what curl would send and compares whole answers, byte for byte. Rewrite them with -rewrite.
func TestTranscripts(t *testing.T) {
	t.Parallel()
	nodes := startSwarm(t, nil)
	open, _ := serverOf(t, nodes[0], nil)
	closed, _ := serverOf(t, nodes[0], func(c *Config) {
		c.Keys = must(parseKeys("# of two people\nsk-0123456789abcdef anna\nsk-fedcba9876543210\n"))
		c.Origins = []string{"https://chat.example.org"}
		c.MaxBody = 64
	})
	datadriven.Walk(t, "testdata/transcripts", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			server := open
			if strings.Contains(path, "keys") {
				server = closed
			}
			return exchange(t, server, d)
		})
	})
}

// serverOf is startServer's address.
func serverOf(t *testing.T, bootstrap *node.Node, change func(*Config)) (addr string, stop func()) {
	_, url, stop := startServer(t, bootstrap, change)
	return strings.TrimPrefix(url, "http://"), stop
}

// exchange sends a request: the command is its method, the arguments its path and headers, the input its body.
func exchange(t *testing.T, addr string, d *datadriven.TestData) string {
	t.Helper()
	if d.Cmd == "" || len(d.CmdArgs) == 0 {
		d.Fatalf(t, "want METHOD path [header=(Name, value)]…")
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nConnection: close\r\n", d.Cmd, d.CmdArgs[0].Key)
	host, kind := addr, "application/json"
	for _, arg := range d.CmdArgs[1:] {
		switch name, value := arg.Key, strings.Join(arg.Vals, ", "); name {
		case "Host":
			host = value
		case "Content-Type":
			kind = value
		default:
			fmt.Fprintf(&b, "%s: %s\r\n", name, value)
		}
	}
	fmt.Fprintf(&b, "Host: %s\r\n", host)
	if d.Input != "" {
		fmt.Fprintf(&b, "Content-Type: %s\r\nContent-Length: %d\r\n", kind, len(d.Input))
	}
	b.WriteString("\r\n" + d.Input)
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		d.Fatalf(t, "%v", err)
	}
	defer conn.Close()
	if _, err := conn.Write(b.Bytes()); err != nil {
		d.Fatalf(t, "%v", err)
	}
	r, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		d.Fatalf(t, "%v", err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		d.Fatalf(t, "%v", err)
	}
	out := r.Status + "\n"
	for _, name := range shownHeaders {
		if v := r.Header.Get(name); v != "" {
			out += name + ": " + v + "\n"
		}
	}
	if retry := r.Header.Get("Retry-After"); retry != "" {
		out += "Retry-After: SECONDS\n"
	}
	out += strings.ReplaceAll(string(body), "\n\n", "\n")
	for _, s := range scrubbed {
		out = s.pattern.ReplaceAllString(out, s.with)
	}
	return out
}
