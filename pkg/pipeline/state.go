// SPDX-License-Identifier: MIT

package pipeline

import (
	"fmt"
	"time"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// Phase says how far a generation is.
type Phase string

// The phases, in order. Failed can follow any but Done.
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
	Route     []protocol.Hop // tiles all layers, in order
	Context   int            // positions the model allows
	ChunkRows int            // rows of one prefill step; 0: 64
	Logits    LogitsWanted

	// StepTimeout is how long a step may be without an answer before the generation fails; 0: 60 s.
	StepTimeout time.Duration

	// End reports whether a token ends the text. Nil: none does.
	End func(protocol.TokenID) bool
	// Stop looks at everything generated so far and says whether to stop there (stop strings). A pure function of its
	// argument. Nil: never.
	Stop func(generated []protocol.TokenID) bool
}

const (
	defaultChunkRows   = 64
	defaultStepTimeout = 60 * time.Second
)

// ShardProgress is what one hop has done for the generation so far.
type ShardProgress struct {
	Hop     protocol.Hop
	Prefill time.Duration // processing of prompt rows
	Decode  time.Duration // processing of decode rows
	Queue   time.Duration // waiting at the hop for the step loop
	Rows    int
}

// PipelineState is the progress of one generation through its shards. It is changed by [PipelineState.Apply] only, does no I/O, reads no clock and
// starts no goroutine.
type PipelineState struct {
	cfg Config
	req protocol.InferenceRequest

	phase    Phase
	epoch    protocol.Epoch
	opened   []bool
	nOpened  int
	nextStep uint32 // number of the next step to send
	nextDone uint32 // number of the next step to come back; Invariant: nextDone ≤ nextStep
	position int    // rows sent; Invariant: rows returned ≤ position ≤ len(prompt)+len(generated)
	deadline time.Time

	generated []protocol.TokenID
	shards    []ShardProgress
	reason    FinishReason
	err       error

	// Times: durations on the coordinator's clock only.
	started     time.Time
	opensDone   time.Time
	firstToken  time.Time
	lastToken   time.Time
	decodeTime  time.Duration // token to token, from the first on
	decodeProc  time.Duration // the hops' processing within it
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
		cfg.ChunkRows = defaultChunkRows
	}
	if cfg.StepTimeout <= 0 {
		cfg.StepTimeout = defaultStepTimeout
	}
	s := &PipelineState{
		cfg: cfg, req: req, phase: PhaseOpening,
		opened: make([]bool, len(cfg.Route)),
		shards: make([]ShardProgress, len(cfg.Route)),
	}
	for i, h := range cfg.Route {
		s.shards[i].Hop = h
	}
	return s, nil
}

// Positions returns the rows of KV cache the generation reserves at every hop.
func (s *PipelineState) Positions() int {
	return min(len(s.req.Tokens)+int(s.req.MaxTokens), s.cfg.Context)
}

// OpenFrame returns the frame that reserves the session at hop i.
func (s *PipelineState) OpenFrame(i int) *protocol.Open {
	req := s.req
	req.Prompt, req.Tokens = "", nil
	return &protocol.Open{
		Session: s.cfg.Session, Epoch: s.epoch, Model: s.cfg.Model, Numerics: s.cfg.Numerics, Wire: s.cfg.Wire,
		Path: s.cfg.Path, Route: s.cfg.Route, Index: uint32(i), Positions: uint32(s.Positions()), Request: req,
	}
}

// Phase returns how far the generation is.
func (s *PipelineState) Phase() Phase { return s.phase }

// Deadline is when the driver must apply an [EventTick] at the latest.
func (s *PipelineState) Deadline() time.Time { return s.deadline }

// Generated returns the tokens so far. The caller must not change them.
func (s *PipelineState) Generated() []protocol.TokenID { return s.generated }

// Err returns why the generation failed, nil while it has not.
func (s *PipelineState) Err() error { return s.err }
