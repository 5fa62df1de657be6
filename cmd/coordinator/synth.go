// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/shardnode/shardnode/internal/cmdline"
	"github.com/shardnode/shardnode/internal/convert"
	"github.com/shardnode/shardnode/internal/synth"
)

func newSynth() *cobra.Command {
	o := &modelOut{}
	var shapeName, typeName string
	var seed uint64
	cmd := &cobra.Command{
		Use:   "synth OUT.gguf --shape SHAPE",
		Short: "Write a random model of a real shape, for benchmarks",
		Long: `Write a random model of a real shape, for benchmarks: what it says means nothing, but it takes the memory and the time of a real one,
and llama.cpp loads it. The same shape, type and seed give the same file everywhere. Shapes: tiny (27 million parameters), 0.4b,
1.5b, 7b (as Llama 2 7B), moe (1.3 billion, of which a token goes through 4 of 32 experts of each layer).`,
		Example: "  coordinator model synth m.gguf --shape 1.5b --type q4_0",
		Args:    exactArgs(1, "a file name: coordinator model synth m.gguf --shape tiny"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.validate(); err != nil {
				return err
			}
			shape, err := synth.ParseShape(shapeName)
			if err != nil {
				return cmdline.Usagef("--shape: %v", err)
			}
			file, err := convert.ParseFileType(typeName)
			if err != nil {
				return cmdline.Usagef("--type: %v", err)
			}
			return runSynth(cmd, o, shape, file, seed, args[0])
		},
	}
	f := cmd.Flags()
	f.StringVar(&shapeName, "shape", "", "tiny, 0.4b, 1.5b, 7b or moe")
	f.StringVar(&typeName, "type", "q8_0", convert.FileTypeNames())
	f.Uint64Var(&seed, "seed", 1, "of the random weights")
	o.register(cmd)
	_ = cmd.MarkFlagRequired("shape")
	return cmd
}

type synthResult struct {
	File       string  `json:"file"`
	Shape      string  `json:"shape"`
	Type       string  `json:"type"`
	Seed       uint64  `json:"seed"`
	Parameters int64   `json:"parameters"`
	Tensors    int     `json:"tensors"`
	Bytes      int64   `json:"bytes"`
	Seconds    float64 `json:"seconds"`
}

func runSynth(cmd *cobra.Command, o *modelOut, shape *synth.Shape, file *convert.FileType, seed uint64, path string) error {
	m, err := synth.New(shape, file, seed)
	if err != nil {
		return err
	}
	start := time.Now()
	size, err := o.write(cmd, path, m.Bytes(), func(w io.Writer, e *convert.Encoder) error { return m.Write(cmd.Context(), w, e) })
	if err != nil {
		return err
	}
	r := synthResult{
		File: path, Shape: shape.Name, Type: file.Name, Seed: seed, Parameters: m.Parameters(), Tensors: len(m.Tensors),
		Bytes: size, Seconds: time.Since(start).Seconds(),
	}
	if o.asJSON {
		return printJSON(cmd.OutOrStdout(), r)
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %s %s, seed %d, %.1f million parameters, %s\n",
		path, r.Shape, r.Type, seed, float64(r.Parameters)/1e6, cmdline.FormatBytes(size))
	return err
}
