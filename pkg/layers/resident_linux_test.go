// SPDX-License-Identifier: MIT

package layers_test

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/shardnode/shardnode/internal/kernel"
	"github.com/shardnode/shardnode/models"
	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// TestResidentBytes loads 4 of the demo model's 32 layers from a file and asks the system how much of the mapping is in memory after a step.
func TestResidentBytes(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "demo.gguf")
	if err := os.WriteFile(path, models.Demo(), 0o600); err != nil {
		t.Fatal(err)
	}
	f := openFile(t, path)
	r := protocol.LayerRange{From: 8, To: 12}
	m := loadRange(t, f, r, layers.Options{})
	var out layers.Output
	if err := m.Forward(m.NewCache(4), layers.Input{Hidden: make([]float32, 256)}, &out); err != nil {
		t.Fatal(err)
	}
	plan, err := layers.PlanBytes(f, parse(t, f), r)
	if err != nil {
		t.Fatal(err)
	}
	resident := residentBytes(t, path)
	// A fault may map a huge page of the page cache, 2 MiB, around what was touched: one for the metadata, one at each end of the layers.
	limit := plan + 3*2<<20
	least := plan / 2
	if kernel.Path() != "generic" { // matrices are repacked in memory of their own, and what is left are the metadata
		least, limit = 0, 2*2<<20
	}
	t.Logf("%d bytes resident, %d planned, %d in the file", resident, plan, len(models.Demo()))
	if resident < least || resident > limit {
		t.Errorf("%d bytes of the mapping are resident, want %d to %d", resident, least, limit)
	}
}

// residentBytes sums the resident memory of a file's mappings.
func residentBytes(t *testing.T, path string) int64 {
	t.Helper()
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		t.Skip(err)
	}
	defer f.Close()
	var sum int64
	ours := false
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		switch {
		case len(fields) > 0 && !strings.HasSuffix(fields[0], ":"):
			ours = strings.HasSuffix(lines.Text(), path)
		case ours && fields[0] == "Rss:":
			kib, err := strconv.ParseInt(fields[1], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			sum += kib << 10
		}
	}
	return sum
}
