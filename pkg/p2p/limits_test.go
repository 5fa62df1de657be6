// SPDX-License-Identifier: MIT

package p2p

import (
	"testing"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	libp2pproto "github.com/libp2p/go-libp2p/core/protocol"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// Each protocol gets its streams, with the memory that its largest frame needs. A limit left at zero would refuse every
// reservation, and nothing else would notice.
func TestLimitsAllowWhatWePromise(t *testing.T) {
	t.Parallel()
	for id, tt := range map[libp2pproto.ID]struct{ streams, frame int }{
		AdmitProtocol:   {4, admitFrame},
		StatusProtocol:  {16, controlFrame},
		ModelProtocol:   {4, controlFrame},
		SessionProtocol: {maxPeerStreams, keepBuffer},
		LinkProtocol:    {maxPeerStreams, keepBuffer},
		BeatProtocol:    {8, beatFrame},
		MoveProtocol:    {16, keepBuffer},
		MeasureProtocol: {4, measureFrame},
		AdminProtocol:   {4, controlFrame},
	} {
		rm, err := newResourceManager(false, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer rm.Close()
		var last network.StreamManagementScope
		for i := range tt.streams {
			s, err := openScope(rm, id, tt.frame)
			if err != nil {
				t.Fatalf("%s: stream %d of %d: %v", id, i, tt.streams, err)
			}
			last = s
		}
		if id == SessionProtocol || id == LinkProtocol || id == MoveProtocol {
			if err := last.ReserveMemory(protocol.MaxFrame-tt.frame, network.ReservationPriorityAlways); err != nil {
				t.Errorf("%s: the largest frame: %v", id, err)
			}
		}
		s, err := rm.OpenStream(peer.ID("a peer"), network.DirInbound)
		if err == nil {
			err = s.SetProtocol(id)
		}
		if err == nil {
			t.Errorf("%s: one stream above %d is not refused", id, tt.streams)
		}
	}
}

// openScope opens an inbound stream of a protocol of ours and reserves memory for it.
func openScope(rm network.ResourceManager, id libp2pproto.ID, memory int) (network.StreamManagementScope, error) {
	s, err := rm.OpenStream(peer.ID("a peer"), network.DirInbound)
	if err == nil {
		err = s.SetProtocol(id)
	}
	if err == nil {
		err = s.SetService(serviceName)
	}
	if err == nil {
		err = s.ReserveMemory(memory, network.ReservationPriorityAlways)
	}
	return s, err
}

// Sessions and links together get the bytes that a node gives them, whatever its machine has, and requests go on beside them.
func TestLimitsBoundBuffers(t *testing.T) {
	t.Parallel()
	const buffers = 48 << 20
	rm, err := newResourceManager(false, buffers)
	if err != nil {
		t.Fatal(err)
	}
	defer rm.Close()
	stream := func(id libp2pproto.ID, n int) error {
		_, err := openScope(rm, id, n)
		return err
	}
	for _, id := range []libp2pproto.ID{SessionProtocol, LinkProtocol} {
		if err := stream(id, buffers/2); err != nil {
			t.Errorf("%s: half of the buffers: %v", id, err)
		}
	}
	for _, id := range []libp2pproto.ID{SessionProtocol, LinkProtocol} {
		if err := stream(id, controlMemory+1); err == nil {
			t.Errorf("%s: more than the buffers was reserved", id)
		}
	}
	for range 16 {
		if err := stream(StatusProtocol, controlFrame); err != nil {
			t.Errorf("a status request while the buffers are full: %v", err)
		}
	}
}
