// SPDX-License-Identifier: MIT

package terminal

import (
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestLines: what is read from no terminal. One that ends in a backslash goes on in the next; a line that is too long is an error.
func TestLines(t *testing.T) {
	t.Parallel()
	l := Open(Config{In: strings.NewReader("one\r\ntwo\\\nthree\n\n" + strings.Repeat("x", 200)), MaxLine: 100})
	if l.Interactive {
		t.Error("a text is taken for a terminal")
	}
	for _, want := range []string{"one", "two\nthree", ""} {
		e := <-l.Read("> ")
		if l.Took(); e.Err != nil || e.Text != want {
			t.Errorf("%q, %v, want %q", e.Text, e.Err, want)
		}
	}
	if e := <-l.Read("> "); e.Err == nil || errors.Is(e.Err, io.EOF) {
		t.Errorf("a line that is too long: %q, %v", e.Text, e.Err)
	}
	l = Open(Config{In: strings.NewReader("last"), MaxLine: 100})
	_ = l.Read("> ") // whoever waits twice
	if e := <-l.Read("> "); e.Text != "last" {
		t.Errorf("%q, %v", e.Text, e.Err)
	}
	l.Took()
	if e := <-l.Read("> "); !errors.Is(e.Err, io.EOF) {
		t.Errorf("at the end: %v", e.Err)
	}
}

// TestKeys: what is read from a terminal ends with Ctrl-C, and nothing behind it is lost.
func TestKeys(t *testing.T) {
	t.Parallel()
	k := &keys{r: strings.NewReader("ab\x03\x03cd")}
	for _, want := range []string{"ab\x03", "\x03", "cd"} {
		p := make([]byte, 10)
		n, err := k.Read(p)
		if got := string(p[:n]); err != nil || got != want || k.interrupted != strings.HasSuffix(want, "\x03") {
			t.Errorf("%q, %t, %v, want %q", got, k.interrupted, err, want)
		}
	}
	if _, err := k.Read(make([]byte, 1)); err == nil {
		t.Error("no end")
	}
}

// TestHistory: the latest lines are there the next time, others are not.
func TestHistory(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "new", "history")
	h := openHistory(path)
	long := strings.Repeat("x", maxHistoryLine+1)
	for _, line := range []string{"a", "a", " ", "b", long} {
		h.Add(line)
	}
	if got := h.list; !cmp.Equal(got, []string{"a", "b", long}) || h.At(0) != long || h.Len() != 3 {
		t.Errorf("%.20q", got)
	}
	if got := openHistory(path).list; !cmp.Equal(got, []string{"a", "b"}) {
		t.Errorf("the next time: %.20q", got)
	}
	openHistory("").Add("secret")
	if got := openHistory("").list; len(got) != 0 {
		t.Errorf("without a file: %q", got)
	}
	h = openHistory(path)
	for range 2 * maxHistory {
		h.Add("c")
		h.Add("d")
	}
	if got := openHistory(path); got.Len() != maxHistory || got.At(0) != "d" {
		t.Errorf("%d lines after many", got.Len())
	}
	if got := openHistory(path); got.Len() != maxHistory {
		t.Errorf("%d lines after the file was cut", got.Len())
	}
}
