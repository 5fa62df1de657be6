// SPDX-License-Identifier: MIT

package engine

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// TestOrder walks testdata/order. Commands, one a block; each prints its verdict and the state after it:
//
//	open epoch=E positions=N            a fresh session
//	reopen epoch=E kept=N positions=N   a new epoch of it; outputs=N of the rows' outputs are kept; index=I hops=N of the route
//	rows epoch=E step=S position=P n=N  [session=other]
//	truncate epoch=E step=S position=P  [session=other]
//	resume epoch=E step=S rows=(A,B,…)  [session=other]
func TestOrder(t *testing.T) {
	t.Parallel()
	datadriven.Walk(t, "testdata/order", func(t *testing.T, path string) {
		var o order
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			arg := func(name string) (v uint32) {
				d.MaybeScanArgs(t, name, &v)
				return v
			}
			session := o.session
			if d.HasArg("session") {
				session[0]++
			}
			epoch := protocol.Epoch(arg("epoch"))
			var out string
			switch d.Cmd {
			case "open":
				o = newOrder(&protocol.Open{Epoch: epoch, Positions: arg("positions"), Route: make([]protocol.Hop, 1)}, 0, 0)
				out = "opened"
			case "reopen":
				if err := o.newer(epoch); err != nil {
					out = err.Error()
					break
				}
				open := &protocol.Open{Epoch: epoch, Positions: arg("positions"), Index: arg("index"), Route: make([]protocol.Hop, max(1, arg("hops")))}
				o = newOrder(open, arg("kept"), arg("outputs"))
				out = "reopened"
			case "rows":
				out = outcome(o.rows(session, epoch, arg("step"), arg("position"), int(arg("n"))))
			case "truncate":
				out = outcome(o.truncate(session, epoch, arg("step"), arg("position")))
			case "resume":
				var rows []uint32
				for _, a := range d.CmdArgs {
					for _, v := range a.Vals {
						if n, err := strconv.ParseUint(v, 10, 32); a.Key == "rows" && err == nil {
							rows = append(rows, uint32(n))
						}
					}
				}
				out = outcome(o.resume(session, epoch, arg("step"), rows))
			default:
				d.Fatalf(t, "unknown command %s", d.Cmd)
			}
			state := fmt.Sprintf("epoch %d, step %d, next %d/%d", o.epoch, o.step, o.next, o.limit)
			if o.have > 0 || o.give > 0 {
				state += fmt.Sprintf(", has %d, the next hop %d", o.have, o.give)
			}
			return fmt.Sprintf("%s\n%s\n", strings.TrimSpace(out), state)
		})
	})
}

func outcome(v verdict, err *protocol.Error) string {
	if err != nil {
		return err.Error()
	}
	return [...]string{accept: "accept", stale: "drop: stale epoch", duplicate: "drop: duplicate"}[v]
}
