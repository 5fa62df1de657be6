// SPDX-License-Identifier: MIT

package p2p

import (
	"time"

	libp2pproto "github.com/libp2p/go-libp2p/core/protocol"
)

// Protocol IDs of version 1. A new version gets a new number and is served beside the old one.
const (
	AdmitProtocol   libp2pproto.ID = "/shardnode/admit/1"
	StatusProtocol  libp2pproto.ID = "/shardnode/status/1"
	ModelProtocol   libp2pproto.ID = "/shardnode/model/1"
	SessionProtocol libp2pproto.ID = "/shardnode/session/1"
	LinkProtocol    libp2pproto.ID = "/shardnode/link/1"
	BeatProtocol    libp2pproto.ID = "/shardnode/beat/1"
	MoveProtocol    libp2pproto.ID = "/shardnode/move/1"
	MeasureProtocol libp2pproto.ID = "/shardnode/measure/1"
	AdminProtocol   libp2pproto.ID = "/shardnode/admin/1"
)

// serviceName is the resource manager's name for all of the above together.
const serviceName = "shardnode"

// AdmitTimeout is how long a connection may stay without admission. The handshake costs five round trips on a new
// connection (QUIC, identify, negotiation, two of its own): 3 s allows for 500 ms of round-trip time.
const AdmitTimeout = 3 * time.Second

const (
	// maxPending bounds connections which wait for admission. Each costs a timer and quic-go's idle connection of
	// about 29 KB, so strangers cost 2 MB at the most.
	maxPending = 64

	// dialTimeoutLocal is for loopback and private addresses, where an answer takes milliseconds; quic-go alone would
	// wait 5 s for a dead port.
	dialTimeoutLocal = 2 * time.Second
	// dialTimeoutPublic covers a lossy path with three lost handshake packets (quic-go doubles from 200 ms).
	dialTimeoutPublic = 8 * time.Second

	// requestTimeout bounds a status request or one manifest chunk when the caller's context does not.
	requestTimeout = 5 * time.Second
	// statusIdle is how long a status or beat stream may rest between two frames.
	statusIdle = 30 * time.Second

	// watchLinger is how long a peer is watched after its last session: the next one often comes soon.
	watchLinger = 10 * time.Second
	// beatRetry is the pause before a beat stream that broke is opened again.
	beatRetry = time.Second

	// openTimeout bounds the wait for Opened: reserve, dial the next hop (2 s), wait for its Open (attachWait).
	openTimeout = 12 * time.Second
	// attachWait is how long a link waits for its own hop's Open, which the coordinator sends at the same time.
	attachWait = 5 * time.Second
	// attachTimeout is the previous hop's bound on dial, admission, Attach and Attached together.
	attachTimeout = attachWait + 3*time.Second

	// moveTimeout bounds the taking over of a session's rows, whatever their size: a node that leaves does not wait for ever.
	moveTimeout = 5 * time.Minute

	// frameTimeout and frameRate bound a frame from its first byte on: 10 s and 64 KiB/s, half of a 1 Mbit/s uplink.
	// Nothing bounds the pause between frames here: sessions think.
	frameTimeout = 10 * time.Second
	frameRate    = 64 << 10

	// sessionWrite bounds a blocked write of a session. Back pressure is legitimate (the next hop may compute a
	// prefill chunk for a minute); a dead peer shows itself by its silence.
	sessionWrite = 5 * time.Minute

	// maxRejects ends a session whose coordinator keeps sending frames that are refused.
	maxRejects = 16
)

// admitFrame and controlFrame bound frames that carry no tensors: a Hello is under 400 bytes, a Status with 32
// addresses under 8 KiB.
const (
	admitFrame   = 1 << 10
	controlFrame = 64 << 10
	beatFrame    = 256
	measureFrame = 320 << 10 // a request for 64 peers with 16 addresses each
)

// readBuffer is the buffered reader of a tensor stream: 45 QUIC packets, so that an 8 KiB frame costs one Read.
const readBuffer = 64 << 10
