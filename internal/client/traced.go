// SPDX-License-Identifier: MIT

package client

import (
	"time"

	"github.com/shardnode/shardnode/internal/waterfall"
	"github.com/shardnode/shardnode/pkg/pipeline"
)

// tracer returns what is to see a generation's steps, and what is to be called when it has ended: nil, if [Config.Traced] is not told.
func (c *Client) tracer(req *Request, see func(*pipeline.StepTrace)) (trace func(*pipeline.StepTrace), ended func(*Result, error)) {
	if c.cfg.Traced == nil || req.Unseen {
		return see, nil
	}
	begun := time.Now()
	steps := &waterfall.Collector{}
	trace = func(s *pipeline.StepTrace) {
		steps.Add(s)
		if see != nil {
			see(s)
		}
	}
	return trace, func(r *Result, failure error) {
		var trips [][]time.Duration
		for _, route := range steps.Routes() { // what is known here; nobody is asked
			own := make([]time.Duration, len(route)+1)
			own[0], own[len(route)] = c.RoundTrip(route[0].Peer), c.RoundTrip(route[len(route)-1].Peer)
			trips = append(trips, own)
		}
		c.cfg.Traced(steps.Document(waterfall.About{RequestID: r.RequestID, Model: r.Target.Name, Path: r.Path, Report: r.Report}, trips), begun, failure)
	}
}
