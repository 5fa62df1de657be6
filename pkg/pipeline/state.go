// SPDX-License-Identifier: MIT

package pipeline

import (
	"fmt"
	"slices"
	"time"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// Phase says how far a generation is.
type Phase string

// The phases, in order. Failed can follow any but Done. While a route is healed the phase is the one that was interrupted.
const (
	PhaseOpening Phase = "opening" // hops reserve their KV memory
	PhasePrefill Phase = "prefill" // the prompt's rows go through in chunks
	PhaseDecode  Phase = "decode"  // one row a step
	PhaseDone    Phase = "done"
	PhaseFailed  Phase = "failed"
)

// FinishReason says why a generation ended well.
type FinishReason string

// The finish reasons, named as the OpenAI API names them.
const (
	FinishStop   FinishReason = "stop"   // an end token or a stop string
	FinishLength FinishReason = "length" // MaxTokens or the model's context reached
)

// LogitsWanted says of which rows the coordinator wants logits back.
type LogitsWanted int

// The choices.
const (
	LogitsNone   LogitsWanted = iota
	LogitsDrawn               // of each row a token is drawn from
	LogitsPrompt              // of every prompt row (and each row a token is drawn from)
)

// Config is what a generation needs to know beside the request. All fields are constant after construction.
type Config struct {
	Session   protocol.SessionID
	Model     protocol.ModelID
	Numerics  string
	Wire      protocol.DType
	Path      protocol.Path
	Route     []protocol.Hop // tiles all layers, in order; hops that are lost are replaced
	Context   int            // positions the model allows
	ChunkRows int            // rows of one prefill step; 0: [protocol.DefaultChunkRows]
	Logits    LogitsWanted

	// StepTimeout is how long the route may be silent before the hop that holds things up is replaced, although its node
	// lives; 0: 60 s.
	StepTimeout time.Duration

	// Recover makes the generation outlive its hops: lost ones are placed anew ([EffectPlace]).
	Recover bool
	// RecoverTimeout is how long lost layers may wait for a node that takes them before the generation fails; 0: 30 s.
	RecoverTimeout time.Duration

	// End reports whether a token ends the text. Nil: none does.
	End func(protocol.TokenID) bool
	// Stop looks at everything generated so far and says whether to stop there (stop strings). A pure function of its
	// argument. Nil: never.
	Stop func(generated []protocol.TokenID) bool
}

const (
	defaultStepTimeout    = 60 * time.Second
	defaultRecoverTimeout = 30 * time.Second

	// maxAttempts is how many routes are tried without a single new answer. What breaks a dozen is the request, or the swarm.
	maxAttempts = 12
)

// stage says what the generation waits for.
type stage uint8

const (
	stageOpening stage = iota // the epoch's hops to open
	stageRunning              // answers
	stagePlacing              // a route without the lost hops
)

// hopState is what is known of a hop of the current epoch.
type hopState struct {
	opened           bool
	cachedTo, keptTo int // rows it had when it opened, and outputs of rows
	lost             error
	leaving          bool // its node said so, whatever the epoch
}

// flight is an input under way.
type flight struct {
	end  int // position after its last row; of a resume, 0
	sent time.Time
}

// PipelineState is the progress of one generation through its shards. It is changed by [PipelineState.Apply] only, does no I/O, reads no clock and
// starts no goroutine.
type PipelineState struct {
	cfg    Config
	req    protocol.InferenceRequest
	rounds []uint32 // boundaries of the first route, where the wire rounds

	phase Phase
	stage stage

	tokens    []protocol.TokenID // the prompt, then what was generated
	answered  int                // rows whose answers have come. Invariant: answered ≤ len(tokens)
	position  int                // rows sent in this epoch, or had by all hops
	reason    FinishReason
	err       error
	shards    []ShardProgress // [hops]
	recovered []*Recovery

	// The route and its epoch.
	route    []protocol.Hop
	epoch    protocol.Epoch
	hops     []hopState // [hops]
	rows     []int      // [hops] rows each had when the epoch was resumed; nil: none
	cached   int        // rows of the prompt that all hops had when the generation began
	flights  []flight   // inputs under way, in order
	nextStep uint32     // number of the next input to send
	nextDone uint32     // number of the next input to come back. Invariant: nextStep - nextDone = len(flights)

	// Healing.
	heal     *healing       // nil: the route is whole
	attempt  int            // number of the latest EffectPlace
	handover *handover      // a route without leaving hops, asked for or in waiting; nil: none
	strikes  map[string]int // complaints by peer since the last answer
	tried    int            // routes since the last answer

	// Deadlines.
	pace    pace
	sign    time.Time     // last sign of the route: an answer, an open, or what was sent
	waits   time.Duration // how long silence may last before nodes are probed
	probed  []bool        // [hops] answers to the probe under way; nil: none
	stalled int           // the route was opened again to find the hop that has fewer rows than this; 0: it was not

	// Times: durations on the coordinator's clock only.
	started     time.Time
	opensDone   time.Time
	firstToken  time.Time
	lastToken   time.Time
	decodeTime  time.Duration // token to token, from the first on
	decodeProc  time.Duration // the hops' processing within it
	prefillProc time.Duration // the hops' processing before it
	decodeSteps int
}

// New returns the state of a generation whose hops are not open yet. It refuses what no route could serve.
func New(cfg Config, req protocol.InferenceRequest) (*PipelineState, error) {
	if len(cfg.Route) == 0 {
		return nil, fmt.Errorf("generate: the route is empty")
	}
	if len(req.Tokens) == 0 {
		return nil, fmt.Errorf("generate: the prompt has no tokens")
	}
	if len(req.Tokens) > cfg.Context {
		return nil, &PromptTooLongError{Tokens: len(req.Tokens), Context: cfg.Context}
	}
	if cfg.ChunkRows <= 0 {
		cfg.ChunkRows = protocol.DefaultChunkRows
	}
	if cfg.StepTimeout <= 0 {
		cfg.StepTimeout = defaultStepTimeout
	}
	if cfg.RecoverTimeout <= 0 {
		cfg.RecoverTimeout = defaultRecoverTimeout
	}
	req.Sampling.Prompt = uint32(len(req.Tokens))
	s := &PipelineState{cfg: cfg, req: req, phase: PhaseOpening}
	s.tokens = append(make([]protocol.TokenID, 0, s.Positions()+1), req.Tokens...)
	if cfg.Wire == protocol.F16 {
		for _, h := range cfg.Route[1:] {
			s.rounds = append(s.rounds, uint32(h.Layers.From))
		}
	}
	s.setRoute(cfg.Route)
	return s, nil
}

// setRoute makes route the current one. Hops that were in the old one keep their sums.
func (s *PipelineState) setRoute(route []protocol.Hop) {
	shards, hops := make([]ShardProgress, len(route)), make([]hopState, len(route))
	for i, h := range route {
		shards[i].Hop = h
		if old := slices.IndexFunc(s.route, func(o protocol.Hop) bool { return sameHop(&o, &h) }); old >= 0 {
			shards[i] = s.shards[old]
			hops[i].leaving = s.hops[old].leaving
		}
	}
	s.route, s.shards, s.hops = route, shards, hops
}

// sameHop reports whether two hops have the same rows of a session.
func sameHop(a, b *protocol.Hop) bool { return a.Peer == b.Peer && a.Layers == b.Layers }

// Positions returns the rows of KV cache the generation reserves at every hop.
func (s *PipelineState) Positions() int {
	return min(len(s.req.Tokens)+int(s.req.MaxTokens), s.cfg.Context)
}

// OpenFrame returns the frame that reserves the session at hop i of the current epoch.
func (s *PipelineState) OpenFrame(i int) *protocol.Open {
	req := s.req
	req.Prompt, req.Tokens = "", nil
	if i < len(s.route)-1 { // who draws no tokens need not know
		req.Sampling.Bias, req.Sampling.Language, req.Sampling.Grammar = nil, 0, nil
	}
	o := &protocol.Open{
		Session: s.cfg.Session, Epoch: s.epoch, Model: s.cfg.Model, Numerics: s.cfg.Numerics, Wire: s.cfg.Wire,
		Path: s.cfg.Path, Route: s.route, Index: uint32(i), Positions: uint32(s.Positions()), Request: req, Rounds: s.rounds,
	}
	o.Prefix = s.tokens[:min(s.settled(), protocol.MaxPrefix)]
	if from := s.sources(i); from != nil {
		o.Sources, o.Rows = from, uint32(s.answered)
	}
	return o
}

// Phase returns how far the generation is.
func (s *PipelineState) Phase() Phase { return s.phase }

// Ended reports whether the generation is done or failed.
func (s *PipelineState) Ended() bool { return s.phase == PhaseDone || s.phase == PhaseFailed }

// Epoch returns the number of the current route.
func (s *PipelineState) Epoch() protocol.Epoch { return s.epoch }

// Route returns the hops of the current epoch. The caller must not change them.
func (s *PipelineState) Route() []protocol.Hop { return s.route }

// Generated returns the tokens so far. The caller must not change them.
func (s *PipelineState) Generated() []protocol.TokenID { return s.tokens[len(s.req.Tokens):] }

// Err returns why the generation failed, nil while it has not.
func (s *PipelineState) Err() error { return s.err }
