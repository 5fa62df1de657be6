// SPDX-License-Identifier: MIT

package node

import (
	"context"
	"testing"
)

// A profile has both figures, in a sane range, and is measured quickly; stopping it is an error.
func TestMeasureProfile(t *testing.T) {
	t.Parallel()
	f, _ := demo(t)
	p, err := MeasureProfile(t.Context(), f, 2)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", p)
	if p.Decode < 1e7 || p.Decode > 1e13 || p.Prefill < 1e7 || p.Prefill > 1e15 {
		t.Errorf("%+v", p)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if p, err := MeasureProfile(ctx, f, 1); err == nil {
		t.Errorf("stopped: %+v", p)
	}
}
