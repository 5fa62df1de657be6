// SPDX-License-Identifier: MIT

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/shardnode/shardnode/internal/cmdline"
	"github.com/shardnode/shardnode/internal/convert"
)

// modelOut are the flags of commands that write a GGUF file.
type modelOut struct {
	threads int
	force   bool
	asJSON  bool
}

func (o *modelOut) register(cmd *cobra.Command) {
	f := cmd.Flags()
	cmdline.ThreadsVar(f, &o.threads, "compute threads; the file does not depend on it")
	f.BoolVar(&o.force, "force", false, "replace the file if there is one")
	f.BoolVar(&o.asJSON, "json", false, "print one JSON object")
}

func (o *modelOut) validate() error {
	if o.threads < 1 || o.threads > 1024 {
		return cmdline.Usagef("--threads %d: want 1 to 1024", o.threads)
	}
	return nil
}

// write makes the file at path, with progress on stderr, and returns its size. The file appears when it is whole: until then, and after an
// error, there is none.
func (o *modelOut) write(cmd *cobra.Command, path string, total int64, write func(io.Writer, *convert.Encoder) error) (int64, error) {
	if _, err := os.Stat(path); err == nil && !o.force {
		return 0, fmt.Errorf("%s exists: choose another name, or pass --force to replace it", path)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	part := path + ".part"
	f, err := os.Create(part)
	if err != nil {
		return 0, err
	}
	defer os.Remove(part) // when it has not become path
	m := cmdline.NewMeter(cmd.ErrOrStderr())
	defer m.Clear()
	var done int64
	e := &convert.Encoder{Threads: o.threads, Progress: func(n int64) {
		done += n
		m.Show("%s of %s (%d %%)", cmdline.FormatBytes(done), cmdline.FormatBytes(total), done*100/max(1, total))
	}}
	out := bufio.NewWriterSize(f, 1<<20)
	if err = write(out, e); err == nil {
		err = out.Flush()
	}
	info, statErr := f.Stat()
	if err = errors.Join(err, statErr, f.Close()); err != nil {
		return 0, err
	}
	return info.Size(), os.Rename(part, path)
}
