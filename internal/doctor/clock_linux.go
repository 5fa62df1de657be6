// SPDX-License-Identifier: MIT

package doctor

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// clockSlack is how wrong the clock may be: nodes' records are valid for a minute or two.
const clockSlack = 5 * time.Second

// checkClock asks the kernel whether the clock is kept right.
func checkClock() Check {
	var t unix.Timex // no modes: read only
	state, err := unix.Adjtimex(&t)
	if err != nil {
		return Check{Name: "clock", State: Skip, Found: fmt.Sprintf("the kernel does not tell: %v", err)}
	}
	return judgeClock(state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0, time.Duration(t.Maxerror)*time.Microsecond)
}

func judgeClock(synchronised bool, most time.Duration) Check {
	c := Check{Name: "clock", State: OK, Values: map[string]any{"synchronised": synchronised, "max_error_ms": most.Milliseconds()}}
	switch {
	case !synchronised:
		c.State, c.Found = Warn, "nothing keeps the clock right"
		c.Advice = "run chrony or systemd-timesyncd (timedatectl set-ntp true): records of a node whose clock is a minute off are refused"
	case most > clockSlack:
		c.State, c.Found = Warn, fmt.Sprintf("it may be wrong by %s", most.Round(time.Millisecond))
		c.Advice = "see whether the time servers are reached (chronyc tracking, timedatectl timesync-status)"
	default:
		c.Found = fmt.Sprintf("synchronised, wrong by %s at the most", most.Round(time.Millisecond))
	}
	return c
}
