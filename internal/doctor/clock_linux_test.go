// SPDX-License-Identifier: MIT

package doctor

import (
	"testing"
	"time"
)

func TestClock(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		synchronised bool
		most         time.Duration
		want         State
	}{{true, time.Millisecond, OK}, {true, time.Minute, Warn}, {false, 0, Warn}} {
		got := judgeClock(c.synchronised, c.most)
		if got.State != c.want || (got.State == OK) != (got.Advice == "") || got.Found == "" {
			t.Errorf("%+v: %+v", c, got)
		}
	}
	if c := checkClock(); c.Name != "clock" || c.State == Fail || c.Found == "" {
		t.Errorf("%+v", c)
	}
}
