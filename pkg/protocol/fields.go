// SPDX-License-Identifier: MIT

package protocol

import "math"

// The fields of each frame in wire order, after the frame's type. docs/protocol.md has the same lists.

func (f *Hello) fields(c *coder) {
	number(c, "version", &f.Version, math.MaxUint32)
	c.text("swarm", &f.Swarm, MaxSwarm)
	c.fixed("nonce", f.Nonce[:])
	c.bool("has key", &f.HasKey)
}

func (f *Proof) fields(c *coder) { c.fixed("MAC", f.MAC[:]) }

func (*StatusRequest) fields(*coder) {}

func (f *Status) fields(c *coder) {
	c.text("peer", &f.Peer, MaxPeer)
	c.prose("version", &f.Version, MaxName)
	c.text("swarm", &f.Swarm, MaxSwarm)
	c.fixed("model", f.Model[:])
	c.prose("model name", &f.ModelName, MaxName)
	number(c, "layers of the model", &f.NLayers, MaxLayers)
	codeRange(c, &f.Layers)
	list(c, "numerics", &f.Numerics, MaxNumerics, func(c *coder, s *string) { c.text("numerics ID", s, MaxName) })
	number(c, "context", &f.Context, MaxPositions)
	number(c, "sessions", &f.Sessions, math.MaxUint32)
	number(c, "max sessions", &f.MaxSess, math.MaxUint32)
	number(c, "KV used", &f.KVUsed, math.MaxUint64)
	number(c, "KV max", &f.KVMax, math.MaxUint64)
	number(c, "step time", &f.StepNanos, math.MaxUint64)
	c.bool("draining", &f.Draining)
	codeAddrs(c, &f.Addrs)
	c.bool("loading", &f.Loading)
	number(c, "decode speed", &f.Decode, MaxSpeed)
	number(c, "prefill speed", &f.Prefill, MaxSpeed)
	number(c, "memory", &f.Memory, MaxSpeed)
	c.bool("moving", &f.Moving)
}

func (f *ModelRequest) fields(c *coder) {
	c.fixed("model", f.Model[:])
	number(c, "offset", &f.Offset, MaxManifest)
}

func (f *ModelChunk) fields(c *coder) {
	number(c, "total", &f.Total, MaxManifest)
	c.bytes("chunk", &f.Bytes, MaxChunk)
}

func (f *Open) fields(c *coder) {
	codeSession(c, &f.Session, &f.Epoch)
	c.fixed("model", f.Model[:])
	c.text("numerics ID", &f.Numerics, MaxName)
	codeDType(c, &f.Wire)
	number(c, "path", &f.Path, uint64(PathRelay))
	list(c, "route", &f.Route, MaxRoute, codeHop)
	number(c, "index", &f.Index, MaxRoute-1)
	number(c, "positions", &f.Positions, MaxPositions)
	c.text("request ID", &f.Request.RequestID, MaxRequestID)
	number(c, "max tokens", &f.Request.MaxTokens, math.MaxUint32)
	codeSampling(c, &f.Request.Sampling)
	list(c, "rounded boundaries", &f.Rounds, MaxRoute-1, func(c *coder, b *uint32) { number(c, "boundary", b, MaxLayers) })
	list(c, "prefix", &f.Prefix, MaxPrefix, codeToken)
	list(c, "sources", &f.Sources, MaxRoute, codeHop)
	number(c, "rows to take over", &f.Rows, MaxPositions)
}

func (f *Opened) fields(c *coder) {
	codeSession(c, &f.Session, &f.Epoch)
	number(c, "KV bytes", &f.KVBytes, math.MaxUint64)
	number(c, "cached positions", &f.CachedTo, MaxPositions)
	number(c, "kept outputs", &f.KeptTo, MaxPositions)
}

func (f *Attach) fields(c *coder) {
	codeSession(c, &f.Session, &f.Epoch)
	number(c, "index", &f.Index, MaxRoute-1)
}

func (f *Attached) fields(c *coder) { codeSession(c, &f.Session, &f.Epoch) }

func (f *Step) fields(c *coder) {
	codeSession(c, &f.Session, &f.Epoch)
	number(c, "step", &f.Step, math.MaxUint32)
	number(c, "position", &f.Position, MaxPositions)
	list(c, "tokens", &f.Tokens, MaxRows, codeToken)
	list(c, "logits", &f.Logits, MaxRows, codeRow)
	c.bool("sample", &f.Sample)
}

func (f *IntermediateResult) fields(c *coder) {
	codeSession(c, &f.Session, &f.Epoch)
	number(c, "step", &f.Step, math.MaxUint32)
	number(c, "position", &f.Position, MaxPositions)
	list(c, "tokens", &f.Tokens, MaxRows, codeToken)
	list(c, "logits", &f.Logits, MaxRows, codeRow)
	c.bool("sample", &f.Sample)
	codeDType(c, &f.DType)
	c.bytes("hidden states", &f.Hidden, MaxTensor)
	list(c, "generated tokens", &f.Generated, MaxRows, codeToken)
	c.bytes("logit rows", &f.LogitRows, MaxTensor)
	list(c, "log probabilities", &f.Logprobs, MaxLogprobs, func(c *coder, p *Logprob) { codePair(c, "log probability", &p.Token, &p.Value) })
	list(c, "hops", &f.Hops, MaxRoute, codeTiming)
	c.fixed("digest", f.Digest[:])
}

func (f *Truncate) fields(c *coder) {
	codeSession(c, &f.Session, &f.Epoch)
	number(c, "step", &f.Step, math.MaxUint32)
	number(c, "position", &f.Position, MaxPositions)
}

func (f *Resume) fields(c *coder) {
	codeSession(c, &f.Session, &f.Epoch)
	number(c, "step", &f.Step, math.MaxUint32)
	list(c, "rows", &f.Rows, MaxRoute, func(c *coder, n *uint32) { number(c, "rows", n, MaxPositions) })
}

func (f *Close) fields(c *coder) { codeSession(c, &f.Session, &f.Epoch) }

func (e *Error) fields(c *coder) {
	codeSession(c, &e.Session, &e.Epoch)
	number(c, "step", &e.Step, math.MaxUint32)
	number(c, "code", &e.Code, math.MaxUint8)
	c.prose("message", &e.Message, MaxMessage)
	codeRange(c, &e.Layers)
	c.text("peer", &e.Peer, MaxPeer)
	c.text("lost peer", &e.Lost, MaxPeer)
}

func (f *Beat) fields(c *coder) {
	number(c, "number", &f.Number, math.MaxUint64)
	c.fixed("pad", f.Pad[:])
}

func (f *Leaving) fields(c *coder) {
	codeSession(c, &f.Session, &f.Epoch)
	number(c, "grace", &f.Grace, math.MaxUint64)
}

func (f *Export) fields(c *coder) {
	c.fixed("session", f.Session[:])
	codeRange(c, &f.Layers)
	c.text("numerics ID", &f.Numerics, MaxName)
	number(c, "position", &f.Position, MaxPositions)
	number(c, "end", &f.End, MaxPositions)
}

func (f *KVRows) fields(c *coder) {
	c.fixed("session", f.Session[:])
	codeRange(c, &f.Layers)
	number(c, "position", &f.Position, MaxPositions)
	number(c, "rows", &f.Rows, MaxRows)
	list(c, "tokens", &f.Tokens, MaxRows, codeToken)
	c.bytes("keys and values", &f.KV, MaxTensor)
	c.fixed("digest", f.Digest[:])
}

func (f *LinksRequest) fields(c *coder) { list(c, "peers", &f.Want, MaxLinks, codeContact) }

func (f *Links) fields(c *coder) { list(c, "links", &f.Links, MaxLinks, codeLink) }

func (f *Burst) fields(c *coder) {
	number(c, "rest", &f.Rest, MaxBurst)
	c.bytes("pad", &f.Pad, MaxBurstPart)
}

func (f *BurstTaken) fields(c *coder) {
	number(c, "bytes", &f.Bytes, MaxBurst)
	number(c, "time", &f.Nanos, MaxDelay)
}

func (f *Move) fields(c *coder) {
	c.fixed("model", f.Model[:])
	codeRange(c, &f.Have)
	codeRange(c, &f.Take)
}

func (f *Moving) fields(c *coder) { codeRange(c, &f.Take) }

func codeContact(c *coder, p *Contact) {
	if n := c.array("contact", 2, 2); n != 2 && c.err == nil {
		c.fail("contact: want 2 fields, found %d", n)
	}
	c.text("peer", &p.Peer, MaxPeer)
	codeAddrs(c, &p.Addrs)
}

func codeLink(c *coder, l *LinkEstimate) {
	if n := c.array("link", 5, 5); n != 5 && c.err == nil {
		c.fail("link: want 5 fields, found %d", n)
	}
	c.text("peer", &l.Peer, MaxPeer)
	number(c, "round-trip time", &l.RTT, MaxDelay)
	number(c, "jitter", &l.Jitter, MaxDelay)
	number(c, "loss", &l.Loss, MaxLoss)
	number(c, "bandwidth", &l.Bandwidth, MaxSpeed)
}

func codeSession(c *coder, s *SessionID, e *Epoch) {
	c.fixed("session", s[:])
	number(c, "epoch", e, math.MaxUint32)
}

func codeToken(c *coder, t *TokenID) { number(c, "token", t, MaxVocab-1) }

func codeRow(c *coder, r *uint32) { number(c, "row", r, MaxRows-1) }

func codeDType(c *coder, d *DType) { number(c, "element type", d, uint64(F16)) }

func codeRange(c *coder, r *LayerRange) {
	if n := c.array("layers", 2, 2); n != 2 && c.err == nil {
		c.fail("layers: want first and end, found %d numbers", n)
	}
	c.integer("first layer", &r.From, MaxLayers)
	c.integer("end layer", &r.To, MaxLayers)
}

func codeAddrs(c *coder, addrs *[]string) {
	list(c, "addresses", addrs, MaxAddrs, func(c *coder, s *string) { c.text("address", s, MaxAddr) })
}

func codeHop(c *coder, h *Hop) {
	if n := c.array("hop", 3, 3); n != 3 && c.err == nil {
		c.fail("hop: want 3 fields, found %d", n)
	}
	c.text("peer", &h.Peer, MaxPeer)
	codeAddrs(c, &h.Addrs)
	codeRange(c, &h.Layers)
}

func codeSampling(c *coder, s *Sampling) {
	if n := c.array("sampling", samplingFields, maxFields); n != samplingFields && c.err == nil {
		c.fail("sampling: want %d fields, found %d: coordinator and node are of different versions", samplingFields, n)
	}
	c.float("temperature", &s.Temperature)
	number(c, "top-k", &s.TopK, math.MaxUint32)
	c.float("top-p", &s.TopP)
	c.float("min-p", &s.MinP)
	c.float("repeat penalty", &s.RepeatPenalty)
	number(c, "repeat window", &s.RepeatLastN, math.MaxUint32)
	number(c, "seed", &s.Seed, math.MaxUint64)
	c.float("presence penalty", &s.PresencePenalty)
	c.float("frequency penalty", &s.FrequencyPenalty)
	list(c, "bias", &s.Bias, MaxBias, func(c *coder, b *Bias) { codePair(c, "bias", &b.Token, &b.Value) })
	number(c, "grammar language", &s.Language, math.MaxUint32)
	c.bytes("grammar", &s.Grammar, MaxGrammar)
	number(c, "prompt", &s.Prompt, MaxPositions)
	number(c, "log probabilities", &s.Logprobs, MaxLogprobs)
}

// samplingFields is how many fields [Sampling] has.
const samplingFields = 14

// codePair codes a token with a value.
func codePair(c *coder, what string, t *TokenID, v *float32) {
	if n := c.array(what, 2, 2); n != 2 && c.err == nil {
		c.fail("%s: want token and value, found %d fields", what, n)
	}
	codeToken(c, t)
	c.float(what, v)
}

func codeTiming(c *coder, t *HopTiming) {
	if n := c.array("hop timing", 6, 6); n != 6 && c.err == nil {
		c.fail("hop timing: want 6 fields, found %d", n)
	}
	codeRange(c, &t.Layers)
	number(c, "rows", &t.Rows, MaxRows)
	number(c, "processing", &t.Processing, math.MaxUint64)
	number(c, "queue", &t.Queue, math.MaxUint64)
	number(c, "decode", &t.Decode, math.MaxUint64)
	number(c, "encode", &t.Encode, math.MaxUint64)
}

// fieldCount is the number of fields of a frame, the type included: the length of its array.
func fieldCount(t Type) int {
	switch t {
	case TypeStatusRequest:
		return 1
	case TypeProof, TypeLinksRequest, TypeLinks, TypeMoving:
		return 2
	case TypeModelRequest, TypeModelChunk, TypeAttached, TypeClose, TypeBeat, TypeBurst, TypeBurstTaken:
		return 3
	case TypeAttach, TypeLeaving, TypeMove:
		return 4
	case TypeHello, TypeTruncate, TypeResume:
		return 5
	case TypeOpened, TypeExport:
		return 6
	case TypeStep, TypeKVRows:
		return 8
	case TypeError:
		return 9
	case TypeOpen:
		return 17
	case TypeIntermediateResult:
		return 15
	case TypeStatus:
		return 22
	}
	return 0
}
