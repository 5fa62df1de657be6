// SPDX-License-Identifier: MIT

package main

import (
	"errors"
	"math"
	"time"

	"github.com/shardnode/shardnode/internal/client"
	"github.com/shardnode/shardnode/pkg/pipeline"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// inferResult is what `infer --json` prints, documented in docs/cli.md. Fields are only ever added. All times are in milliseconds.
type inferResult struct {
	RequestID          string             `json:"request_id"`
	Model              string             `json:"model"`
	ModelID            string             `json:"model_id"`
	Numerics           string             `json:"numerics"`
	Path               string             `json:"path"`
	Prompt             string             `json:"prompt"`
	PromptTokens       []protocol.TokenID `json:"prompt_tokens"`
	Text               string             `json:"text"`
	Reasoning          string             `json:"reasoning,omitempty"`
	Tokens             []protocol.TokenID `json:"tokens"`
	FinishReason       string             `json:"finish_reason"` // stop, length or error
	Error              string             `json:"error,omitempty"`
	Failure            *failureResult     `json:"failure,omitempty"`
	Shards             []shardResult      `json:"shards"`
	TotalMS            float64            `json:"total_ms"`
	TimeToFirstTokenMS float64            `json:"time_to_first_token_ms"`
	OpenMS             float64            `json:"open_ms"`
	PrefillMS          float64            `json:"prefill_ms"`
	DecodeMS           float64            `json:"decode_ms"`
	ProcessingMS       float64            `json:"processing_ms"`
	OverheadMS         float64            `json:"overhead_ms"`
	OverheadMSPerToken float64            `json:"overhead_ms_per_token"`
	EndsMS             float64            `json:"ends_ms"`
	TokensPerSecond    float64            `json:"tokens_per_second"`
	RecoveryMS         float64            `json:"recovery_ms"`
	Recoveries         []recoveryResult   `json:"recoveries"`
}

// failureResult says where a generation failed.
type failureResult struct {
	Shard    int    `json:"shard"` // from 1; 0: no shard is to blame
	Layers   string `json:"layers,omitempty"`
	Peer     string `json:"peer,omitempty"`
	Phase    string `json:"phase"`
	Position int    `json:"position"` // rows answered
	Cause    string `json:"cause"`
}

// recoveryResult is one interruption that the generation outlived.
type recoveryResult struct {
	Phase    string       `json:"phase"`
	Position int          `json:"position"`
	Lost     []lostResult `json:"lost"`
	New      []newResult  `json:"new"`
	Replayed int          `json:"replayed"`
	Routes   int          `json:"routes"`
	TookMS   float64      `json:"took_ms"`
}

type lostResult struct {
	Shard     int     `json:"shard"`
	Layers    string  `json:"layers"`
	Peer      string  `json:"peer"`
	Leaving   bool    `json:"leaving"`
	SilenceMS float64 `json:"silence_ms"`
	Cause     string  `json:"cause"`
}

type newResult struct {
	Layers string `json:"layers"`
	Peer   string `json:"peer"`
}

// shardResult is one hop's part.
type shardResult struct {
	Layers       string  `json:"layers"`
	Peer         string  `json:"peer"`
	ProcessingMS float64 `json:"processing_ms"` // of decode steps
	PrefillMS    float64 `json:"prefill_ms"`
	QueueMS      float64 `json:"queue_ms"`
	Rows         int     `json:"rows"`
}

func newInferResult(r *client.Result, err error) *inferResult {
	rep := r.Report
	path := "direct"
	if r.Path == protocol.PathRelay {
		path = "relay"
	}
	out := &inferResult{
		RequestID: r.RequestID, Model: r.Target.Name, ModelID: r.Target.Model.String(), Numerics: r.Target.Numerics, Path: path,
		Prompt: r.Prompt, PromptTokens: r.PromptTokens, Text: r.Text, Reasoning: r.Reasoning, Tokens: r.Tokens, FinishReason: string(rep.Reason),
		TotalMS: ms(rep.Total), TimeToFirstTokenMS: ms(rep.TimeToFirstToken), OpenMS: ms(rep.Open), PrefillMS: ms(rep.Prefill),
		DecodeMS: ms(rep.Decode), ProcessingMS: ms(rep.Processing), OverheadMS: ms(rep.Overhead),
		OverheadMSPerToken: ms(rep.OverheadPerToken()), TokensPerSecond: round3(rep.TokensPerSecond()),
	}
	out.EndsMS = ms(r.Ends)
	if out.Tokens == nil {
		out.Tokens = []protocol.TokenID{}
	}
	if err != nil {
		out.FinishReason, out.Error, out.Failure = "error", err.Error(), newFailureResult(err)
	}
	out.RecoveryMS, out.Recoveries = ms(rep.Recovery), []recoveryResult{}
	for _, r := range rep.Recoveries {
		out.Recoveries = append(out.Recoveries, newRecoveryResult(r))
	}
	for _, s := range rep.Shards {
		out.Shards = append(out.Shards, shardResult{
			Layers: s.Hop.Layers.String(), Peer: s.Hop.Peer, ProcessingMS: ms(s.Decode), PrefillMS: ms(s.Prefill), QueueMS: ms(s.Queue), Rows: s.Rows,
		})
	}
	return out
}

func newFailureResult(err error) *failureResult {
	var failed *pipeline.FailedError
	if !errors.As(err, &failed) {
		return nil
	}
	out := &failureResult{Shard: failed.Shard, Phase: string(failed.Phase), Position: failed.Position, Cause: failed.Err.Error()}
	if failed.Hop != nil {
		out.Layers, out.Peer = failed.Hop.Layers.String(), failed.Hop.Peer
	}
	return out
}

func newRecoveryResult(r *pipeline.Recovery) recoveryResult {
	out := recoveryResult{
		Phase: string(r.Phase), Position: r.Position, Replayed: r.Replayed, Routes: r.Epochs, TookMS: ms(r.Took), Lost: []lostResult{}, New: []newResult{},
	}
	for _, l := range r.Lost {
		out.Lost = append(out.Lost, lostResult{
			Shard: l.Shard, Layers: l.Hop.Layers.String(), Peer: l.Hop.Peer, Leaving: l.Leaving, SilenceMS: ms(l.Silence), Cause: l.Err.Error(),
		})
	}
	for _, h := range r.New {
		out.New = append(out.New, newResult{Layers: h.Layers.String(), Peer: h.Peer})
	}
	return out
}

func ms(d time.Duration) float64 { return milliseconds(d) }

func round3(x float64) float64 { return math.Round(x*1000) / 1000 }
