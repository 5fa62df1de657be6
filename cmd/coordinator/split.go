// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shardnode/shardnode/internal/cmdline"
	"github.com/shardnode/shardnode/internal/convert"
	"github.com/shardnode/shardnode/internal/modelfile"
	"github.com/shardnode/shardnode/pkg/gguf"
	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/protocol"
)

func newSplit() *cobra.Command {
	o := &modelOut{}
	var list, dir string
	cmd := &cobra.Command{
		Use:   "split FILE --layers 0-7,8-15",
		Short: "Write a file for each range of layers, to be served alone",
		Long: `Write a file for each range of layers, NAME.layers-0-7.gguf and so on, with the tensors of these layers, the metadata, and the description
of the whole model: nodes that serve the file and nodes that serve parts of these files are one swarm. A node serves such a file without
--layers. FILE may be the first of several that make up a model.`,
		Example: "  coordinator model split m.gguf --layers 0-15,16-31 --dir /mnt/stick\n  shardnode --model m.layers-0-15.gguf",
		Args:    exactArgs(1, "a file: coordinator model split m.gguf --layers 0-7,8-15"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var ranges []protocol.LayerRange
			for s := range strings.SplitSeq(list, ",") {
				r, err := protocol.ParseLayerRange(strings.TrimSpace(s))
				if err != nil {
					return cmdline.Usagef("--layers: %v", err)
				}
				ranges = append(ranges, r)
			}
			return runSplit(cmd, o, args[0], dir, ranges)
		},
	}
	f := cmd.Flags()
	f.StringVar(&list, "layers", "", "ranges of layers, a file each: 0-7,8-15")
	f.StringVar(&dir, "dir", "", "where the files go (default: beside FILE)")
	f.BoolVar(&o.force, "force", false, "replace files that are there")
	f.BoolVar(&o.asJSON, "json", false, "print one JSON object")
	_ = cmd.MarkFlagRequired("layers")
	return cmd
}

type splitResult struct {
	ModelID string      `json:"model_id"`
	Files   []splitFile `json:"files"`
}

type splitFile struct {
	File   string `json:"file"`
	Layers string `json:"layers"`
	Bytes  int64  `json:"bytes"`
}

func runSplit(cmd *cobra.Command, o *modelOut, path, dir string, ranges []protocol.LayerRange) error {
	m, err := modelfile.Open(path)
	if err != nil {
		return err
	}
	defer m.Close()
	cfg, err := layers.ParseConfig(m.File.Meta)
	if err != nil {
		return err
	}
	for _, r := range ranges { // before the model is hashed, which takes long
		if _, err := layers.PlanBytes(m.File, cfg, r); err != nil {
			return err
		}
	}
	manifest, err := gguf.BuildManifestContext(cmd.Context(), m.File, nil)
	if err != nil {
		return err
	}
	if dir == "" {
		dir = filepath.Dir(m.Path)
	}
	out := splitResult{ModelID: protocol.ModelID(manifest.ID()).String()}
	for _, r := range ranges {
		name := filepath.Join(dir, fmt.Sprintf("%s.layers-%s.gguf", m.Name, r))
		size, err := writeShard(cmd, o, name, m.File, cfg, manifest, r)
		if err != nil {
			return err
		}
		out.Files = append(out.Files, splitFile{File: name, Layers: r.String(), Bytes: size})
	}
	if o.asJSON {
		return printJSON(cmd.OutOrStdout(), out)
	}
	for _, f := range out.Files {
		fmt.Fprintf(cmd.OutOrStdout(), "%s: layers %s, %s\n", f.File, f.Layers, cmdline.FormatBytes(f.Bytes))
	}
	return nil
}

// writeShard writes the file of a range.
func writeShard(cmd *cobra.Command, o *modelOut, name string, f *gguf.File, cfg *layers.Config, manifest *gguf.Manifest, r protocol.LayerRange) (int64, error) {
	var tensors []gguf.TensorSource
	var total int64
	for _, want := range layers.RequiredTensors(f, cfg, r) {
		t, _ := f.Tensor(want) // PlanBytes has found it
		total += int64(t.Size)
		tensors = append(tensors, gguf.TensorSource{Name: t.Name, Type: t.Type, Dims: t.Dims})
	}
	return o.write(cmd, name, total, func(w io.Writer, e *convert.Encoder) error {
		for i := range tensors {
			t, _ := f.Tensor(tensors[i].Name)
			tensors[i].Write = func(w io.Writer) error {
				defer f.Release(t)
				e.Progress(int64(t.Size))
				_, err := w.Write(f.Data(t))
				return err
			}
		}
		return gguf.WriteStream(w, gguf.ShardMetadata(f, manifest, r.String()), tensors)
	})
}
