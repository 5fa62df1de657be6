// SPDX-License-Identifier: MIT

package main

import (
	"math"
	"time"

	"github.com/shardnode/shardnode/internal/client"
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
	Tokens             []protocol.TokenID `json:"tokens"`
	FinishReason       string             `json:"finish_reason"` // stop, length or error
	Error              string             `json:"error,omitempty"`
	Shards             []shardResult      `json:"shards"`
	TotalMS            float64            `json:"total_ms"`
	TimeToFirstTokenMS float64            `json:"time_to_first_token_ms"`
	OpenMS             float64            `json:"open_ms"`
	PrefillMS          float64            `json:"prefill_ms"`
	DecodeMS           float64            `json:"decode_ms"`
	ProcessingMS       float64            `json:"processing_ms"`
	OverheadMS         float64            `json:"overhead_ms"`
	OverheadMSPerToken float64            `json:"overhead_ms_per_token"`
	TokensPerSecond    float64            `json:"tokens_per_second"`
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
		Prompt: r.Prompt, PromptTokens: r.PromptTokens, Text: r.Text, Tokens: r.Tokens, FinishReason: string(rep.Reason),
		TotalMS: ms(rep.Total), TimeToFirstTokenMS: ms(rep.TimeToFirstToken), OpenMS: ms(rep.Open), PrefillMS: ms(rep.Prefill),
		DecodeMS: ms(rep.Decode), ProcessingMS: ms(rep.Processing), OverheadMS: ms(rep.Overhead),
		OverheadMSPerToken: ms(rep.OverheadPerToken()), TokensPerSecond: round3(rep.TokensPerSecond()),
	}
	if out.Tokens == nil {
		out.Tokens = []protocol.TokenID{}
	}
	if err != nil {
		out.FinishReason, out.Error = "error", err.Error()
	}
	for _, s := range rep.Shards {
		out.Shards = append(out.Shards, shardResult{
			Layers: s.Hop.Layers.String(), Peer: s.Hop.Peer, ProcessingMS: ms(s.Decode), PrefillMS: ms(s.Prefill), QueueMS: ms(s.Queue), Rows: s.Rows,
		})
	}
	return out
}

func ms(d time.Duration) float64 { return milliseconds(d) }

func round3(x float64) float64 { return math.Round(x*1000) / 1000 }
