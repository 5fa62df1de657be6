// SPDX-License-Identifier: MIT

package pipeline

import (
	"context"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// Dialer returns d for a generation whose tokens e keeps.
func (e *Ends) Dialer(d Dialer) Dialer { return &endsDialer{Dialer: d, ends: e} }

type endsDialer struct {
	Dialer
	ends *Ends
}

func (d *endsDialer) OpenHop(ctx context.Context, hop protocol.Hop, o *protocol.Open) (Stream, *protocol.Opened, error) {
	s, opened, err := d.Dialer.OpenHop(ctx, hop, d.ends.Open(o))
	if err != nil {
		return nil, nil, err
	}
	return &endsStream{Stream: s, ends: d.ends, first: o.Index == 0, last: int(o.Index) == len(o.Route)-1}, opened, nil
}

// endsStream is a stream to a hop, on which frames turn into those of local ends where tokens come in and where they go out.
type endsStream struct {
	Stream
	ends        *Ends
	first, last bool // place in the route
}

func (s *endsStream) Send(f protocol.Frame) error {
	if s.first {
		var err error
		if f, err = s.ends.Enter(f); err != nil {
			return err
		}
	}
	return s.Stream.Send(f)
}

func (s *endsStream) Recv() (protocol.Frame, error) {
	f, err := s.Stream.Recv()
	if r, ok := f.(*protocol.IntermediateResult); ok && err == nil && s.last {
		err = s.ends.Leave(r)
	}
	return f, err
}
