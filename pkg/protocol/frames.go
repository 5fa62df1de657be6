// SPDX-License-Identifier: MIT

package protocol

import (
	"slices"
	"strings"
)

// Type numbers a frame on the wire. It is the first element of the frame's msgpack array.
// Numbers are never reused; docs/protocol.md lists them.
type Type uint8

// Frame types of version 1.
const (
	TypeHello              Type = 1  // either side → other: admission challenge
	TypeProof              Type = 2  // either side → other: admission answer
	TypeStatusRequest      Type = 3  // anyone → node
	TypeStatus             Type = 4  // node → asker
	TypeModelRequest       Type = 5  // coordinator → node: a part of the manifest
	TypeModelChunk         Type = 6  // node → coordinator
	TypeOpen               Type = 7  // coordinator → hop: reserve a session
	TypeOpened             Type = 8  // hop → coordinator: reserved
	TypeAttach             Type = 9  // hop i → hop i+1: this stream carries the session's hidden states
	TypeAttached           Type = 10 // hop i+1 → hop i
	TypeStep               Type = 11 // coordinator → first hop: token IDs of k ≥ 1 rows
	TypeIntermediateResult Type = 12 // a hop's output
	TypeTruncate           Type = 13 // forget rows from a position on; travels along the route like a step
	TypeClose              Type = 14 // end a session, free its KV memory
	TypeError              Type = 15 // a typed refusal or failure
	TypeBeat               Type = 16 // either side → other, which sends it back: a sign of life
	TypeLeaving            Type = 17 // hop → coordinator: the node drains, move the session
	TypeExport             Type = 18 // replacement → source: send me rows of a session's KV cache
	TypeKVRows             Type = 19 // source → replacement
	TypeResume             Type = 20 // begin a later epoch with the rows that hops have; travels along the route like a step
	TypeLinksRequest       Type = 21 // anyone → node: what are your links like
	TypeLinks              Type = 22 // node → asker
	TypeBurst              Type = 23 // either side → other: bytes that warm a connection up and measure it
	TypeBurstTaken         Type = 24 // the other side, when the last of a burst has come
	TypeMove               Type = 25 // administrator → node: serve other layers
	TypeMoving             Type = 26 // node → administrator: it will
)

// Frame is one message. The concrete types are the structs below, always as pointers.
type Frame interface {
	// FrameType returns the frame's number.
	FrameType() Type
}

// Sampling holds every parameter that turns logits into a token. The zero value is greedy decoding.
type Sampling struct {
	Temperature   float32 // 0: greedy (arg max, ties to the lowest ID)
	TopK          uint32  // keep the k most likely; 0: all
	TopP          float32 // nucleus: smallest set with at least this probability; 0 or ≥ 1: all
	MinP          float32 // drop tokens below MinP times the likeliest; 0: none
	RepeatPenalty float32 // divides positive and multiplies negative logits of recent tokens; 0 or 1: off
	RepeatLastN   uint32  // how many recent tokens the penalty looks at; 0: 64
	Seed          uint64  // of the counter-based generator, keyed by (seed, position)

	PresencePenalty  float32 // subtracted from the logit of each token that was generated; any sign; 0: off
	FrequencyPenalty float32 // the same, once for each time
	Bias             []Bias  // added to logits, rising by token; nil: none
	Language         uint32  // of Grammar (package grammar); 0 if and only if there is none
	Grammar          []byte  // what the generated tokens must be a text of; nil: anything
	Prompt           uint32  // tokens that come before the first generated one: the latter are what penalties and grammar are about
	Logprobs         uint32  // of how many tokens to tell the log probability with each that is drawn, itself included; 0: none
}

// Bias is added to a token's logit.
type Bias struct {
	Token TokenID
	Value float32
}

// Logprob is the natural logarithm of a token's probability by the model's logits, before anything else changes them.
type Logprob struct {
	Token TokenID
	Value float32 // finite: [MinLogprob] at the least
}

// MinLogprob stands for everything less likely, impossible tokens included.
const MinLogprob = -9999

// InferenceRequest is what a user asks for. On the wire it rides in [Open], without the prompt's text.
type InferenceRequest struct {
	RequestID string    // ≤ MaxRequestID bytes
	Prompt    string    // text; never on the wire
	Tokens    []TokenID // the prompt's IDs; never in Open: every step carries its rows' IDs
	MaxTokens uint32    // generated tokens at the most
	Sampling  Sampling
}

// Hop is one shard of a route.
type Hop struct {
	Peer   string // libp2p peer ID, textual
	Addrs  []string
	Layers LayerRange
}

// Path says how hidden states travel between hops.
type Path uint8

// The two paths.
const (
	PathDirect Path = 0 // shard to shard, the last one answers the coordinator
	PathRelay  Path = 1 // every hop answers the coordinator, which forwards
)

// Open reserves a session at one hop. The coordinator sends it to every hop of the route at once, each on
// the stream that then is that hop's session stream.
type Open struct {
	Session   SessionID
	Epoch     Epoch
	Model     ModelID
	Numerics  string // numerics ID, docs/numerics.md
	Wire      DType
	Path      Path
	Route     []Hop  // all hops in layer order
	Index     uint32 // which of Route the receiver is
	Positions uint32 // rows that the session may come to have
	Request   InferenceRequest

	// Rounds are the layer boundaries at which hidden states are rounded to Wire, rising: those of the route that the session
	// began with. They stay the same when hops are replaced, so that a healed session computes what the first route would have;
	// at any other boundary hidden states travel as f32. Empty if Wire is f32, which rounds nothing.
	Rounds []uint32

	// Prefix are the tokens of the first rows, as far as they are known and nothing is wanted of them: the receiver may have those rows
	// of another session ([Opened].CachedTo). At most MaxPrefix, and no more than Positions.
	Prefix []TokenID

	Sources []Hop  // who holds rows that the receiver takes over; they tile its layers; nil: none
	Rows    uint32 // rows to hold when it answers, taken from Sources; 0 if and only if there are none
}

// WireAt returns the element type of hidden states that pass from layer boundary-1 to layer boundary.
func (f *Open) WireAt(boundary int) DType {
	if _, rounded := slices.BinarySearch(f.Rounds, uint32(boundary)); rounded {
		return f.Wire
	}
	return F32
}

// LocalEnds ends the numerics ID of a session whose coordinator embeds, and makes tokens of the last layer's hidden states, itself: hops are
// given hidden states and give hidden states (docs/protocol.md, "Local ends").
const LocalEnds = "/local-ends"

// LocalEnds reports whether the coordinator keeps the model's ends, and with them all tokens.
func (f *Open) LocalEnds() bool { return strings.HasSuffix(f.Numerics, LocalEnds) }

// Opened says that KV memory is reserved and, on the direct path, that the next hop is attached.
type Opened struct {
	Session  SessionID
	Epoch    Epoch
	KVBytes  uint64 // of memory that this session has at this hop now
	CachedTo uint32 // rows the hop's KV cache holds already: of a session that was open with a lower epoch, of Prefix, or taken over from Sources
	KeptTo   uint32 // rows whose outputs the hop has kept and can send again; never more than CachedTo
}

// Attach makes a fresh stream from hop Index-1 the carrier of a session's hidden states to hop Index.
type Attach struct {
	Session SessionID
	Epoch   Epoch
	Index   uint32 // the receiver's place in the route
}

// Attached answers [Attach].
type Attached struct {
	Session SessionID
	Epoch   Epoch
}

// Step is the input of the first hop: k ≥ 1 consecutive rows given by token ID.
type Step struct {
	Session  SessionID
	Epoch    Epoch
	Step     uint32 // counts inputs of a session from 0, within an epoch
	Position uint32 // of the first row
	Tokens   []TokenID
	Logits   []uint32 // rows (0 ≤ r < k, rising) whose logits the coordinator wants
	Sample   bool     // draw a token from the last row's logits
}

// HopTiming is what one hop appends to a step on its way. Durations only: clocks of nodes are never compared.
type HopTiming struct {
	Layers     LayerRange
	Rows       uint32
	Processing uint64 // ns, first to last kernel of the step, nothing else
	Queue      uint64 // ns from fully received to first kernel
	Decode     uint64 // ns to decode the frame
	Encode     uint64 // ns to turn hidden states into bytes and digest them; at the last hop, to draw the token. Framing and sending are not in it
}

// IntermediateResult is a shard's output: hidden states from every shard but the last, generated tokens
// (and logits where wanted) from the last. It is also the input of the next hop.
type IntermediateResult struct {
	Session   SessionID
	Epoch     Epoch
	Step      uint32
	Position  uint32
	Tokens    []TokenID   // the rows' input IDs: sampler state is a function of request and history. With local ends 0 for each row
	Logits    []uint32    // as in Step
	Sample    bool        // as in Step
	DType     DType       // of Hidden
	Hidden    []byte      // [rows][hidden] little-endian; empty from the last shard
	Generated []TokenID   // from the last shard: the sampled token, if asked
	LogitRows []byte      // from the last shard: [len(Logits)][vocab] float32, little-endian. With local ends what norm and head make them of: [len(Logits)][hidden]
	Logprobs  []Logprob   // from the last shard, if asked: of the sampled token, then of the likeliest others, likeliest first
	Hops      []HopTiming // one per hop passed, in order
	Digest    [16]byte    // first half of SHA-256 over the output (docs/protocol.md)
}

// Truncate rolls a session back: rows from Position on are forgotten on every hop. It travels along the route in order
// with the steps; the last hop returns it to the coordinator.
type Truncate struct {
	Session  SessionID
	Epoch    Epoch
	Step     uint32
	Position uint32
}

// Resume is the first input of an epoch in which hops have different numbers of rows, as after one of them was replaced. It
// travels the route like a step; the last hop returns it to the coordinator. Hop i keeps Rows[i] rows and forgets the rest. The
// steps that follow begin at the least of Rows, and none of them crosses one of Rows. A hop does not compute rows it has: it sends
// on the outputs it kept or, where the next hop has those rows too, the step without hidden states.
type Resume struct {
	Session SessionID
	Epoch   Epoch
	Step    uint32
	Rows    []uint32 // one per hop of the route
}

// From returns the position at which the steps after f begin.
func (f *Resume) From() uint32 { return slices.Min(f.Rows) }

// Close ends a session at the receiver.
type Close struct {
	Session SessionID
	Epoch   Epoch
}

// Error is a typed refusal or failure. It implements error; see errors.go.
type Error struct {
	Session SessionID
	Epoch   Epoch
	Step    uint32
	Code    Code
	Message string     // one sentence: what and what to do next
	Layers  LayerRange // of the node that speaks; empty if not about a shard
	Peer    string     // who speaks
	Lost    string     // the peer that the speaker lost or cannot reach; "": the error is not about another peer
}

// StatusRequest asks a node what it serves.
type StatusRequest struct{}

// Status is a node's word on what it serves, the truth that routing uses (DHT records only name candidates).
type Status struct {
	Peer      string
	Version   string // build version
	Swarm     string
	Model     ModelID
	ModelName string
	NLayers   uint32
	Layers    LayerRange
	Numerics  []string // numerics IDs it can serve
	Context   uint32   // positions at the most in one session
	Sessions  uint32   // open now
	MaxSess   uint32
	KVUsed    uint64 // bytes
	KVMax     uint64 // bytes
	StepNanos uint64 // moving mean of a one-row step's processing
	Draining  bool
	Addrs     []string
	Loading   bool   // the layers are chosen and not served yet; it takes no sessions
	Decode    uint64 // bytes a second of weights and KV cache that a step of one row gets through, as it measured itself; 0: not known
	Prefill   uint64 // FLOP a second in steps of many rows, as it measured itself; 0: not known
	Memory    uint64 // bytes that it has for weights and KV caches; 0: not known
	Moving    bool   // it has taken on other layers and does not serve them yet
}

// ModelRequest asks for a part of the manifest.
type ModelRequest struct {
	Model  ModelID
	Offset uint64
}

// ModelChunk is a part of the manifest; the receiver checks the whole against the model ID.
type ModelChunk struct {
	Total uint64
	Bytes []byte
}

// Hello opens the admission handshake (docs/protocol.md, "Admission").
type Hello struct {
	Version uint32
	Swarm   string
	Nonce   [32]byte
	HasKey  bool
}

// Proof answers the other side's Hello.
type Proof struct {
	MAC [32]byte
}

// BeatPad is the length of [Beat.Pad]: a packet this large makes a restarted peer answer with a stateless reset.
const BeatPad = 64

// Beat asks for a sign of life. The receiver sends it back unchanged.
type Beat struct {
	Number uint64        // counts up
	Pad    [BeatPad]byte // nobody looks at it
}

// Leaving says that the node is draining and that the session should move on. It stays open until then.
type Leaving struct {
	Session SessionID
	Epoch   Epoch
	Grace   uint64 // ns from now on after which the node ends what is left
}

// Export asks a node for rows of a session that is open there.
type Export struct {
	Session  SessionID
	Layers   LayerRange // wanted
	Numerics string     // of both sessions
	Position uint32     // first row
	End      uint32     // row after the last
}

// KVRows are rows of a session's KV cache, as they lie in memory: bit for bit.
type KVRows struct {
	Session  SessionID
	Layers   LayerRange
	Position uint32    // of the first row
	Rows     uint32    // 1 to MaxRows
	Tokens   []TokenID // the rows' input IDs, one a row, where Layers ends the model; else empty
	KV       []byte    // [Rows][Layers][KV heads][keys, then values][head dimensions], little-endian
	Digest   [16]byte  // [KVDigest]
}

// LinksRequest asks a node what its links to peers are like. It measures those to Want that it does not know yet, within seconds.
type LinksRequest struct {
	Want []Contact
}

// Contact is a peer and where it may be dialled.
type Contact struct {
	Peer  string // libp2p peer ID, textual
	Addrs []string
}

// Links is what a node has measured: one direction each, from it to a peer.
type Links struct {
	Links []LinkEstimate
}

// LinkEstimate is what packets from one peer to another suffer, as moving estimates of the sender.
type LinkEstimate struct {
	Peer      string // the other end
	RTT       uint64 // ns there and back, the middle of recent round trips
	Jitter    uint64 // ns, standard deviation of one direction's delay
	Loss      uint32 // packets of a million that do not arrive there
	Bandwidth uint64 // bytes a second; 0: not known
}

// Burst is a part of a burst: bytes that nobody looks at.
type Burst struct {
	Rest uint32 // bytes of Pad in the parts that follow, at the most; 0: this is the last
	Pad  []byte // 1 to MaxBurstPart bytes
}

// BurstTaken answers the last part of a burst.
type BurstTaken struct {
	Bytes uint32 // of Pad in all parts but the first
	Nanos uint64 // from the first part's arrival to the last one's
}

// Move asks a node to serve other layers of its model. Only peers that its operator has named may.
type Move struct {
	Model ModelID
	Have  LayerRange // what the plan takes it to serve now: a plan that is out of date is refused
	Take  LayerRange // what it shall serve
}

// Moving answers [Move]: the node drains, loads and serves the new range then. Its [Status] tells how far it is.
type Moving struct {
	Take LayerRange
}

// FrameType implementations.
func (*Hello) FrameType() Type              { return TypeHello }
func (*Proof) FrameType() Type              { return TypeProof }
func (*StatusRequest) FrameType() Type      { return TypeStatusRequest }
func (*Status) FrameType() Type             { return TypeStatus }
func (*ModelRequest) FrameType() Type       { return TypeModelRequest }
func (*ModelChunk) FrameType() Type         { return TypeModelChunk }
func (*Open) FrameType() Type               { return TypeOpen }
func (*Opened) FrameType() Type             { return TypeOpened }
func (*Attach) FrameType() Type             { return TypeAttach }
func (*Attached) FrameType() Type           { return TypeAttached }
func (*Step) FrameType() Type               { return TypeStep }
func (*IntermediateResult) FrameType() Type { return TypeIntermediateResult }
func (*Truncate) FrameType() Type           { return TypeTruncate }
func (*Close) FrameType() Type              { return TypeClose }
func (*Error) FrameType() Type              { return TypeError }
func (*Beat) FrameType() Type               { return TypeBeat }
func (*Leaving) FrameType() Type            { return TypeLeaving }
func (*Export) FrameType() Type             { return TypeExport }
func (*KVRows) FrameType() Type             { return TypeKVRows }
func (*Resume) FrameType() Type             { return TypeResume }
func (*LinksRequest) FrameType() Type       { return TypeLinksRequest }
func (*Links) FrameType() Type              { return TypeLinks }
func (*Burst) FrameType() Type              { return TypeBurst }
func (*BurstTaken) FrameType() Type         { return TypeBurstTaken }
func (*Move) FrameType() Type               { return TypeMove }
func (*Moving) FrameType() Type             { return TypeMoving }
