// SPDX-License-Identifier: MIT

package main

import (
	"testing"
)

// TestComplete: what Tab makes of a line.
func TestComplete(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"/h": "/help ", "/q": "/quit ", "/se": "/set ", "/s": "/s", "/r": "/re", "/xyz": "/xyz", "": "", "What": "What", "/set temp": "/set temp", "/": "/",
	} {
		if got := complete(line); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}
