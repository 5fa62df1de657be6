// SPDX-License-Identifier: MIT

package p2p

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// FetchManifest gets the manifest of a model from a node that serves it and checks it against the model ID.
func (h *Host) FetchManifest(ctx context.Context, p peer.ID, id protocol.ModelID) ([]byte, error) {
	var manifest []byte
	err := h.ask(ctx, peer.AddrInfo{ID: p}, &question{
		op: fmt.Sprintf("fetch the manifest of model %s from", id.Short()), id: ModelProtocol, limits: chunkLimits,
		run: func(_ context.Context, s *Stream) (err error) {
			manifest, err = fetchManifest(s, id)
			return err
		},
	})
	if err != nil {
		return nil, err
	}
	return manifest, nil
}

func fetchManifest(s *Stream, id protocol.ModelID) ([]byte, error) {
	var manifest []byte
	var total uint64
	for first := true; first || uint64(len(manifest)) < total; first = false {
		if err := s.WriteFrame(&protocol.ModelRequest{Model: id, Offset: uint64(len(manifest))}); err != nil {
			return nil, err
		}
		var c protocol.ModelChunk
		if err := expect(s, &c); err != nil {
			return nil, err
		}
		if first {
			total = c.Total
		}
		// The buffer grows by what arrives, never by the length that is claimed.
		switch {
		case total == 0 || total > protocol.MaxManifest:
			return nil, protocol.Errorf(protocol.CodeBadFrame, "manifest of %d bytes: the limit is %d", total, protocol.MaxManifest)
		case c.Total != total, len(c.Bytes) == 0, uint64(len(manifest)+len(c.Bytes)) > total:
			return nil, protocol.Errorf(protocol.CodeBadFrame, "manifest part at %d does not fit the whole of %d bytes", len(manifest), total)
		}
		manifest = append(manifest, c.Bytes...)
	}
	if sha256.Sum256(manifest) != [32]byte(id) {
		return nil, protocol.Errorf(protocol.CodeWrongModel, "the manifest is not that of the model ID: use another node")
	}
	return manifest, nil
}

// serveModel answers requests for parts of the manifest on one stream.
func serveModel(n Node, s *Stream) {
	for {
		var req protocol.ModelRequest
		t, body, err := s.Next()
		if err == nil && t != protocol.TypeModelRequest {
			err = errors.New("not a model request")
		}
		if err == nil {
			err = s.decode(body, &req)
		}
		if err != nil {
			hangUp(s, err)
			return
		}
		manifest := n.Manifest()
		switch {
		case req.Model != n.Status().Model:
			err = s.WriteFrame(protocol.Errorf(protocol.CodeWrongModel, "this node serves model %s", n.Status().Model.Short()))
		case req.Offset >= uint64(len(manifest)):
			err = s.WriteFrame(protocol.Errorf(protocol.CodeBadFrame, "offset %d of a manifest of %d bytes", req.Offset, len(manifest)))
		default:
			part := manifest[req.Offset:min(uint64(len(manifest)), req.Offset+protocol.MaxChunk)]
			err = s.WriteFrame(&protocol.ModelChunk{Total: uint64(len(manifest)), Bytes: part})
		}
		if err != nil {
			s.Reset(network.StreamNoError)
			return
		}
	}
}
