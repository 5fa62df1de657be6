// SPDX-License-Identifier: MIT

package node

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"

	"go.uber.org/zap"

	"github.com/shardnode/shardnode/internal/cmdline"
	"github.com/shardnode/shardnode/pkg/layers"
)

// The packed weights that a node keeps for its next start are one file: of what it serves, or of what it served last. Nothing about it
// is fatal: a node that cannot read it packs, and one that cannot write it says so.

// openPanels opens what an earlier run kept; nil where there is nothing.
func (n *Node) openPanels() (*layers.Panels, io.Closer) {
	info, err := os.Stat(n.cfg.PanelPath)
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	var f *os.File
	if err == nil {
		f, err = os.Open(n.cfg.PanelPath)
	}
	switch {
	case err == nil:
		return &layers.Panels{Model: n.modelID, File: f, Size: info.Size()}, f
	case !errors.Is(err, fs.ErrNotExist):
		n.log.Warn("packed weights of an earlier start cannot be read", zap.String("file", n.cfg.PanelPath), zap.Error(err))
	}
	return nil, io.NopCloser(nil)
}

// tellPanels says what became of what an earlier run kept, if anything was, and reports whether to write it anew.
func (s *shard) tellPanels(kept bool) bool {
	err := s.model.PanelsErr()
	switch file := zap.String("file", s.n.cfg.PanelPath); {
	case s.model.PanelBytes() == 0:
		s.n.log.Info("this processor's kernels take the weights as they are in the model file: there is nothing to keep")
		return false
	case !kept:
		return true
	case errors.Is(err, layers.ErrOtherPanels):
		s.n.log.Info("packed weights of an earlier start are replaced", file, zap.Error(err))
	case err != nil:
		s.n.log.Warn("packed weights of an earlier start are not used, but written again", file, zap.Error(err))
	}
	return err != nil
}

// keepPanels writes the packed weights for the next start.
func (s *shard) keepPanels(ctx context.Context) {
	began := time.Now()
	err := s.writePanels(ctx)
	switch {
	case err == nil:
		s.n.log.Info("kept the packed weights for the next start", zap.String("file", s.n.cfg.PanelPath),
			zap.String("size", cmdline.FormatBytes(s.model.PanelBytes())), zap.Duration("took", time.Since(began).Round(time.Millisecond)))
	case ctx.Err() == nil:
		s.n.log.Warn("cannot keep the packed weights: the next start packs them again", zap.String("file", s.n.cfg.PanelPath), zap.Error(err))
	}
}

// writePanels replaces the file in one step. What it replaces is removed before: two copies may be more than the disk holds.
func (s *shard) writePanels(ctx context.Context) (err error) {
	path := s.n.cfg.PanelPath
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	tmp := path + ".tmp" // the data directory is this process's: what is there is left over
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(tmp)
		}
	}()
	w := &patientWriter{stopped: ctx.Err, f: f}
	err = s.model.WritePanels(w, s.n.modelID)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// syncBytes is how much is written before it is to be on the disk: a node that is told to stop waits for no more, and the system has no
// gigabytes to write at once.
const syncBytes = 64 << 20

// patientWriter writes in the background of a node that serves.
type patientWriter struct {
	stopped func() error
	f       *os.File
	dirty   int // bytes since the last sync
}

func (w *patientWriter) Write(b []byte) (int, error) {
	if err := w.stopped(); err != nil {
		return 0, err
	}
	n, err := w.f.Write(b)
	if w.dirty += n; err == nil && w.dirty >= syncBytes {
		w.dirty, err = 0, w.f.Sync()
	}
	return n, err
}
