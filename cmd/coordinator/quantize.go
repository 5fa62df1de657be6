// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/shardnode/shardnode/internal/cmdline"
	"github.com/shardnode/shardnode/internal/convert"
	"github.com/shardnode/shardnode/internal/modelfile"
	"github.com/shardnode/shardnode/internal/quant"
)

func newQuantize() *cobra.Command {
	o := &modelOut{}
	var typeName string
	cmd := &cobra.Command{
		Use:   "quantize IN.gguf OUT.gguf --type TYPE",
		Short: "Convert a model to another tensor type",
		Long: `Convert a model to another tensor type. Metadata, tokenizer and vectors stay as they are; which matrix gets which type follows
llama-quantize: the head is Q6_K in all quantised files but Q8_0, q4_k_m and q5_k_m hold half of attn_v and ffn_down as Q6_K, and a
K-quant gives way to a type with blocks of 32 where rows are no multiple of 256. Best start from F32, F16 or BF16.`,
		Example: "  coordinator model quantize m-f16.gguf m-q4_k_m.gguf --type q4_k_m",
		Args:    exactArgs(2, "two files: coordinator model quantize m-f16.gguf m-q4_0.gguf --type q4_0"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.validate(); err != nil {
				return err
			}
			file, err := convert.ParseFileType(typeName)
			if err != nil {
				return cmdline.Usagef("--type: %v", err)
			}
			return runQuantize(cmd, o, file, args[0], args[1])
		},
	}
	cmd.Flags().StringVar(&typeName, "type", "", convert.FileTypeNames())
	o.register(cmd)
	_ = cmd.MarkFlagRequired("type")
	return cmd
}

type quantizeResult struct {
	File        string           `json:"file"`
	Type        string           `json:"type"`
	SourceBytes int64            `json:"source_bytes"` // of tensors
	Bytes       int64            `json:"bytes"`
	Error       float64          `json:"relative_error"`
	Seconds     float64          `json:"seconds"`
	Tensors     []quantizeTensor `json:"tensors"`
}

type quantizeTensor struct {
	Name  string  `json:"name"`
	From  string  `json:"from"`
	To    string  `json:"to"`
	Bytes uint64  `json:"bytes"`
	Error float64 `json:"relative_error"`
}

func runQuantize(cmd *cobra.Command, o *modelOut, file *convert.FileType, in, out string) error {
	m, err := modelfile.Open(in)
	if err != nil {
		return err
	}
	defer m.Close()
	plan, err := convert.NewPlan(m.File, file)
	if err != nil {
		return err
	}
	if plan.Lossy() {
		fmt.Fprintf(cmd.ErrOrStderr(), "%s is quantised already: a file made from it is worse than one made from the original\n", in)
	}
	start := time.Now()
	size, err := o.write(cmd, out, plan.Bytes(), func(w io.Writer, e *convert.Encoder) error { return plan.Write(cmd.Context(), w, e) })
	if err != nil {
		return err
	}
	r := quantizeResult{File: out, Type: file.Name, Bytes: size, Seconds: time.Since(start).Seconds()}
	var total convert.Loss
	for i, t := range plan.Tensors {
		r.SourceBytes += int64(m.File.Tensors[i].Size)
		r.Tensors = append(r.Tensors, quantizeTensor{t.Name, t.From.String(), t.To.String(), t.Bytes, t.Loss.Relative()})
		total.Add(t.Loss)
	}
	r.Error = total.Relative()
	if o.asJSON {
		return printJSON(cmd.OutOrStdout(), r)
	}
	return r.print(cmd.OutOrStdout(), plan.Tensors)
}

func (r *quantizeResult) print(w io.Writer, tensors []convert.TensorReport) error {
	fmt.Fprintf(w, "%s: %s, %s of %s, relative rms error of converted tensors %.5f\n", r.File, r.Type,
		cmdline.FormatBytes(r.Bytes), cmdline.FormatBytes(r.SourceBytes), r.Error)
	counts := map[quant.Type]int{}
	var order []quant.Type
	for _, t := range tensors {
		if counts[t.To] == 0 {
			order = append(order, t.To)
		}
		counts[t.To]++
	}
	for _, t := range order {
		fmt.Fprintf(w, "  %-5s %s\n", t, plural(counts[t], "tensor"))
	}
	return nil
}
