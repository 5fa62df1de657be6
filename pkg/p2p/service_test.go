// SPDX-License-Identifier: MIT

package p2p_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/shardnode/shardnode/internal/testnet"
	"github.com/shardnode/shardnode/pkg/p2p"
	"github.com/shardnode/shardnode/pkg/protocol"
)

func TestStatus(t *testing.T) {
	t.Parallel()
	node := testnet.Loopback(t, p2p.Config{Swarm: "lab", Version: "1.2.3"})
	node.Serve(newAdder())
	c := testnet.Loopback(t, p2p.Config{Swarm: "lab", DialOnly: true})
	for range 3 {
		st, rtt, err := c.Status(t.Context(), node.AddrInfo())
		if err != nil {
			t.Fatal(err)
		}
		if st.Peer != node.ID().String() || st.Swarm != "lab" || st.Version != "1.2.3" || len(st.Addrs) == 0 || st.ModelName != "adder" {
			t.Errorf("status %+v", st)
		}
		if rtt <= 0 {
			t.Errorf("round trip %v", rtt)
		}
	}
	agent, err := c.Libp2p().Peerstore().Get(node.ID(), "AgentVersion")
	if err != nil || agent != "shardnode/1.2.3" {
		t.Errorf("user agent %v, %v", agent, err)
	}
}

func TestStatusOfAHostThatServesNothing(t *testing.T) {
	t.Parallel()
	node, c := testnet.Loopback(t, p2p.Config{}), testnet.Loopback(t, p2p.Config{})
	_, _, err := c.Status(t.Context(), node.AddrInfo())
	if !errors.Is(err, &protocol.Error{Code: protocol.CodeUnreachable}) || !strings.Contains(err.Error(), "not a shard node") {
		t.Error(err)
	}
}

// Streams fail lazily: the refusal shows at the first read, and comes back as a code.
func TestResetCodes(t *testing.T) {
	t.Parallel()
	for reset, want := range map[network.StreamErrorCode]protocol.Code{
		network.StreamResourceLimitExceeded: protocol.CodeBusy,
		network.StreamRateLimited:           protocol.CodeBusy,
		network.StreamProtocolViolation:     protocol.CodeBadFrame,
		network.StreamShutdown:              protocol.CodeDraining,
		network.StreamGated:                 protocol.CodeForbidden,
		network.StreamNoError:               protocol.CodeUnreachable,
	} {
		node, c := testnet.Loopback(t, p2p.Config{}), testnet.Loopback(t, p2p.Config{})
		node.Guarded().SetStreamHandler(p2p.StatusProtocol, func(s network.Stream) { _ = s.ResetWithError(reset) })
		_, _, err := c.Status(t.Context(), node.AddrInfo())
		if !errors.Is(err, &protocol.Error{Code: want}) {
			t.Errorf("reset %#x: %v, want %s", reset, err, want)
		}
		var wire *protocol.Error
		if !errors.As(err, &wire) || wire.Peer != node.ID().String() {
			t.Errorf("reset %#x: wire form %+v", reset, wire)
		}
	}
}

func TestConnectToOneself(t *testing.T) {
	t.Parallel()
	h := testnet.Loopback(t, p2p.Config{})
	if err := h.Connect(t.Context(), h.AddrInfo()); err == nil || !strings.Contains(err.Error(), "our own") {
		t.Error(err)
	}
}

func TestFetchManifest(t *testing.T) {
	t.Parallel()
	n := newAdder()
	n.manifest = make([]byte, 5*protocol.MaxChunk/2)
	r := rand.NewChaCha8([32]byte{})
	_, _ = r.Read(n.manifest)
	node, c := testnet.Loopback(t, p2p.Config{}), testnet.Loopback(t, p2p.Config{})
	node.Serve(n)
	if err := c.Connect(t.Context(), node.AddrInfo()); err != nil {
		t.Fatal(err)
	}
	got, err := c.FetchManifest(t.Context(), node.ID(), n.model())
	if err != nil || !bytes.Equal(got, n.manifest) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	_, err = c.FetchManifest(t.Context(), node.ID(), protocol.ModelID{1})
	if !errors.Is(err, &protocol.Error{Code: protocol.CodeWrongModel}) {
		t.Errorf("another model: %v", err)
	}
}

// A node that lies about its manifest is found out, and cannot make the reader hold more than the limit.
func TestFetchManifestFromALiar(t *testing.T) {
	t.Parallel()
	truth := []byte("the true manifest")
	id := protocol.ModelID(sha256.Sum256(truth))
	for name, tt := range map[string]struct {
		chunks []protocol.ModelChunk
		code   protocol.Code
	}{
		"other bytes":    {[]protocol.ModelChunk{{Total: 17, Bytes: []byte("a false manifest!")}}, protocol.CodeWrongModel},
		"empty":          {[]protocol.ModelChunk{{Total: 0}}, protocol.CodeBadFrame},
		"no progress":    {[]protocol.ModelChunk{{Total: 17, Bytes: truth[:3]}, {Total: 17}}, protocol.CodeBadFrame},
		"changed total":  {[]protocol.ModelChunk{{Total: 17, Bytes: truth[:3]}, {Total: 18, Bytes: truth[3:]}}, protocol.CodeBadFrame},
		"beyond the end": {[]protocol.ModelChunk{{Total: 17, Bytes: truth[:3]}, {Total: 17, Bytes: truth}}, protocol.CodeBadFrame},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			node, c := testnet.Loopback(t, p2p.Config{}), testnet.Loopback(t, p2p.Config{})
			node.Guarded().SetStreamHandler(p2p.ModelProtocol, func(s network.Stream) {
				defer s.Close()
				for i := range tt.chunks {
					if _, err := s.Read(make([]byte, 1024)); err != nil {
						return
					}
					b, err := protocol.Append(nil, &tt.chunks[i])
					if err != nil {
						t.Error(err)
						return
					}
					_, _ = s.Write(b)
				}
				_, _ = s.Read(make([]byte, 1024))
			})
			if err := c.Connect(t.Context(), node.AddrInfo()); err != nil {
				t.Fatal(err)
			}
			if _, err := c.FetchManifest(t.Context(), node.ID(), id); !errors.Is(err, &protocol.Error{Code: tt.code}) {
				t.Errorf("%v, want code %s", err, tt.code)
			}
		})
	}
}

func TestRequestEndsWithContext(t *testing.T) {
	t.Parallel()
	node, c := testnet.Loopback(t, p2p.Config{}), testnet.Loopback(t, p2p.Config{})
	asked := make(chan struct{})
	node.Guarded().SetStreamHandler(p2p.StatusProtocol, func(s network.Stream) {
		close(asked) // and never answered
		_, _ = s.Read(make([]byte, 1))
		for err := error(nil); err == nil; {
			_, err = s.Read(make([]byte, 1024))
		}
		_ = s.Reset()
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-asked
		cancel()
	}()
	if _, _, err := c.Status(ctx, node.AddrInfo()); err == nil {
		t.Error("no answer, no error")
	}
}
