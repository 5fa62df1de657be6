// SPDX-License-Identifier: MIT

package discovery

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
	libp2pproto "github.com/libp2p/go-libp2p/core/protocol"
	"github.com/multiformats/go-multihash"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// swarmHash names a swarm where its own name should not show: it keeps swarms apart, it hides nothing.
func swarmHash(swarm string) string {
	h := sha256.Sum256([]byte("shardnode/swarm/" + swarm))
	return hex.EncodeToString(h[:8])
}

// dhtPrefix begins the protocol ID of the swarm's DHT: nodes of different swarms do not share a routing table.
func dhtPrefix(swarm string) libp2pproto.ID { return libp2pproto.ID("/shardnode/" + swarmHash(swarm)) }

// mdnsService is the swarm's multicast DNS service.
func mdnsService(swarm string) string { return "_shard-" + swarmHash(swarm)[:8] + "._udp" }

// swarmKey is provided by every node of the swarm, so that a coordinator need not know the model.
func swarmKey(swarm string) cid.Cid { return provideKey("shard/1/" + swarm) }

// modelKey is provided by every node of the swarm that serves a part of the model.
func modelKey(swarm string, model protocol.ModelID) cid.Cid {
	return provideKey("shard/1/" + swarm + "/" + model.String())
}

func provideKey(s string) cid.Cid {
	h := sha256.Sum256([]byte(s))
	mh, err := multihash.Encode(h[:], multihash.SHA2_256)
	if err != nil {
		panic(err) // only for a hash of the wrong length
	}
	return cid.NewCidV1(cid.Raw, mh)
}

// recordNamespace is the first part of a signed record's key.
const recordNamespace = "shard"

// recordKey is where a node's signed record lives.
func recordKey(id peer.ID) string { return "/" + recordNamespace + "/" + id.String() }

// parseRecordKey returns the peer a key belongs to; each peer has one key.
func parseRecordKey(key string) (peer.ID, error) {
	text, ok := strings.CutPrefix(key, "/"+recordNamespace+"/")
	if !ok || len(text) > protocol.MaxPeer {
		return "", fmt.Errorf("key %.32q: want /%s/PEERID", key, recordNamespace)
	}
	id, err := peer.Decode(text)
	if err != nil || id.String() != text {
		return "", fmt.Errorf("key %.32q does not end in a peer ID", key)
	}
	return id, nil
}
