// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/shardnode/shardnode/internal/cmdline"
	"github.com/shardnode/shardnode/internal/modelfile"
	"github.com/shardnode/shardnode/pkg/gguf"
	"github.com/shardnode/shardnode/pkg/protocol"
	"github.com/shardnode/shardnode/pkg/tokenizer"
)

func newModel() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "model",
		Short: "Look into GGUF files, make and measure them",
		Args:  cobra.NoArgs,
	}
	cmd.AddCommand(newInspect(), newTokenize(), newDetokenize(), newLogits(), newPerplexity(), newQuantize(), newSplit(), newSynth())
	return cmd
}

// fileArg accepts an optional file; "" is the embedded demo model.
func fileArg(form string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) > 1 {
			return cmdline.Usagef("want %s", form)
		}
		return nil
	}
}

func openModel(args []string) (*modelfile.Model, error) {
	path := ""
	if len(args) == 1 {
		path = args[0]
	}
	return modelfile.Open(path)
}

func newInspect() *cobra.Command {
	var asJSON, id bool
	cmd := &cobra.Command{
		Use:   "inspect [FILE]",
		Short: "Show metadata and tensors of a GGUF file (default: the embedded demo model)",
		Args:  fileArg("at most one file: coordinator model inspect m.gguf"),
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := openModel(args)
			if err != nil {
				return err
			}
			defer m.Close()
			out, err := newInspectResult(m, id)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), out)
			}
			return out.print(cmd)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	cmd.Flags().BoolVar(&id, "id", false, "compute the model ID too (reads the whole file)")
	return cmd
}

type inspectResult struct {
	Name     string         `json:"name"`
	Version  uint32         `json:"gguf_version"`
	ModelID  string         `json:"model_id,omitempty"`
	Metadata []metaResult   `json:"metadata"`
	Tensors  []tensorResult `json:"tensors"`
}

type metaResult struct {
	Key   string `json:"key"`
	Type  string `json:"type"`
	Value any    `json:"value,omitempty"`
	Count int    `json:"count,omitempty"` // of an array; its values are left out
}

type tensorResult struct {
	Name   string   `json:"name"`
	Type   string   `json:"type"`
	Dims   []uint64 `json:"dims"`
	Offset uint64   `json:"offset"`
	Bytes  uint64   `json:"bytes"`
}

func newInspectResult(m *modelfile.Model, withID bool) (*inspectResult, error) {
	out := &inspectResult{Name: m.Name, Version: m.File.Version}
	if withID {
		manifest, err := gguf.BuildManifest(m.File)
		if err != nil {
			return nil, err
		}
		out.ModelID = protocol.ModelID(manifest.ID()).String()
	}
	for _, key := range m.File.Meta.Keys {
		value, _ := m.File.Meta.Get(key)
		r := metaResult{Key: key, Type: strings.TrimPrefix(fmt.Sprintf("%T", value), "[]")}
		if n, isArray := arrayLen(value); isArray {
			r.Type += " array"
			r.Count = n
		} else {
			r.Value = value
		}
		out.Metadata = append(out.Metadata, r)
	}
	for _, t := range m.File.Tensors {
		out.Tensors = append(out.Tensors, tensorResult{Name: t.Name, Type: t.Type.String(), Dims: t.Dims, Offset: t.Offset, Bytes: t.Size})
	}
	return out, nil
}

func arrayLen(v any) (int, bool) {
	switch a := v.(type) {
	case []string:
		return len(a), true
	case []float32:
		return len(a), true
	case []float64:
		return len(a), true
	case []bool:
		return len(a), true
	case []uint8:
		return len(a), true
	case []int8:
		return len(a), true
	case []uint16:
		return len(a), true
	case []int16:
		return len(a), true
	case []uint32:
		return len(a), true
	case []int32:
		return len(a), true
	case []uint64:
		return len(a), true
	case []int64:
		return len(a), true
	}
	return 0, false
}

func (r *inspectResult) print(cmd *cobra.Command) error {
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%s: GGUF v%d, %s, %s\n", r.Name, r.Version, plural(len(r.Metadata), "metadata key"), plural(len(r.Tensors), "tensor"))
	if r.ModelID != "" {
		fmt.Fprintf(w, "model ID %s\n", r.ModelID)
	}
	fmt.Fprintln(w)
	for _, m := range r.Metadata {
		value := fmt.Sprintf("%d values", m.Count)
		if m.Value != nil {
			value = strings.ReplaceAll(fmt.Sprint(m.Value), "\n", "⏎")
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", m.Key, m.Type, value)
	}
	fmt.Fprintln(w)
	var total uint64
	for _, t := range r.Tensors {
		dims := make([]string, len(t.Dims))
		for i, d := range t.Dims {
			dims[i] = strconv.FormatUint(d, 10)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", t.Name, t.Type, strings.Join(dims, " x "), cmdline.FormatBytes(int64(t.Bytes)))
		total += t.Bytes
	}
	fmt.Fprintf(w, "\n%s of tensors\n", cmdline.FormatBytes(int64(total)))
	return w.Flush()
}

func newTokenize() *cobra.Command {
	var text string
	var asJSON, special, add bool
	cmd := &cobra.Command{
		Use:   "tokenize [FILE] --text TEXT",
		Short: "Print the token IDs of a text",
		Args:  fileArg("at most one file: coordinator model tokenize m.gguf --text Hello"),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, done, err := openTokenizer(args)
			if err != nil {
				return err
			}
			defer done()
			ids := t.Encode(text, tokenizer.EncodeOptions{AddSpecial: add, ParseSpecial: special})
			if asJSON {
				return printJSON(cmd.OutOrStdout(), map[string]any{"text": text, "tokens": ids})
			}
			fmt.Fprintln(cmd.OutOrStdout(), formatIDs(ids))
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&text, "text", "", "the text")
	f.BoolVar(&special, "special", false, "read special tokens such as <|im_start|> in the text as such")
	f.BoolVar(&add, "add-special", false, "add the tokens the model wants at begin and end")
	f.BoolVar(&asJSON, "json", false, "print one JSON object")
	_ = cmd.MarkFlagRequired("text")
	return cmd
}

func newDetokenize() *cobra.Command {
	var list string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "detokenize [FILE] --ids 1,2,3",
		Short: "Print the text of token IDs, special tokens by name",
		Args:  fileArg("at most one file: coordinator model detokenize m.gguf --ids 1,2,3"),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, done, err := openTokenizer(args)
			if err != nil {
				return err
			}
			defer done()
			ids, err := parseIDs(list, t.Vocab())
			if err != nil {
				return err
			}
			text := string(t.DecodeSpecial(ids))
			if asJSON {
				return printJSON(cmd.OutOrStdout(), map[string]any{"tokens": ids, "text": text})
			}
			fmt.Fprintln(cmd.OutOrStdout(), text)
			return nil
		},
	}
	cmd.Flags().StringVar(&list, "ids", "", "token IDs, separated by commas")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	_ = cmd.MarkFlagRequired("ids")
	return cmd
}

func openTokenizer(args []string) (*tokenizer.Tokenizer, func(), error) {
	m, err := openModel(args)
	if err != nil {
		return nil, nil, err
	}
	t, err := tokenizer.New(m.File.Meta)
	if err != nil {
		m.Close()
		return nil, nil, err
	}
	return t, m.Close, nil
}

// parseIDs reads "1,2,3", each below vocab.
func parseIDs(list string, vocab int) ([]protocol.TokenID, error) {
	var ids []protocol.TokenID
	for field := range strings.SplitSeq(list, ",") {
		id, err := strconv.ParseUint(strings.TrimSpace(field), 10, 32)
		if err != nil {
			return nil, cmdline.Usagef("--ids: %q is not a token ID; write for example 1,2,3", field)
		}
		if id >= uint64(vocab) {
			return nil, cmdline.Usagef("--ids: %d is outside the vocabulary of %d tokens", id, vocab)
		}
		ids = append(ids, protocol.TokenID(id))
	}
	return ids, nil
}

func formatIDs(ids []protocol.TokenID) string {
	parts := make([]string, len(ids))
	for i, id := range ids {
		parts[i] = strconv.FormatUint(uint64(id), 10)
	}
	return strings.Join(parts, ",")
}
