// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"io"
	"math"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/shardnode/shardnode/internal/cmdline"
	"github.com/shardnode/shardnode/internal/simulate"
)

// simulateOptions are the flags of simulate.
type simulateOptions struct {
	nodes   []int
	hours   float64
	network string
	layer   cmdline.ByteSize
	kv      cmdline.ByteSize
	asJSON  bool
	cfg     simulate.Config
}

func newSimulate() *cobra.Command {
	o := &simulateOptions{layer: 512 << 20, kv: 4 << 10}
	cmd := &cobra.Command{
		Use:   "simulate",
		Short: "Run swarms of up to thousands of nodes on paper: what they serve, how fast, and what a loss costs",
		Long: `Run swarms of up to thousands of nodes on paper, in virtual time. Nodes choose layers, come, leave and die; users ask; routes are chosen and
healed by the same code as in real swarms, over a simulated network and with arithmetic that only takes time. Equal flags give equal results.
docs/scale.md says what is assumed, and reads the results. Ctrl-C prints what there is.`,
		Example: `  coordinator simulate
  coordinator simulate --nodes 10,100,1000 --hours 4 --churn 0.5
  coordinator simulate --network lan --nodes 4 --layers 32 --layer-size 200MiB --hidden 4096`,
		Args: exactArgs(0, "no arguments: coordinator simulate --nodes 10,100"),
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	f := cmd.Flags()
	f.IntSliceVar(&o.nodes, "nodes", []int{10, 100}, "how many nodes; several numbers give a row each")
	f.Float64Var(&o.hours, "hours", 1, "how long, after ten minutes in which nodes come")
	f.Float64Var(&o.cfg.Users, "users", 0.1, "users for each node, one at the least; they ask, read for half a minute and ask again")
	f.Float64Var(&o.cfg.Churn, "churn", 0.2, "share of the nodes that leave in an hour; others take their place")
	f.Float64Var(&o.cfg.Crash, "crash", 0.5, "share of those that leave without a word")
	f.StringVar(&o.network, "network", string(simulate.World), "how far members are from each other: lan, country or world")
	f.IntVar(&o.cfg.Model.Layers, "layers", 80, "layers of the model")
	f.Var(&o.layer, "layer-size", "weights of a layer")
	f.IntVar(&o.cfg.Model.Hidden, "hidden", 8192, "elements of a row of hidden states")
	f.Var(&o.kv, "kv-size", "KV cache of a position and layer")
	f.IntVar(&o.cfg.Batch, "batch", 1, "steps of different sessions that a node computes at once")
	f.Uint64Var(&o.cfg.Seed, "seed", 1, "equal seeds and flags give equal results")
	f.BoolVar(&o.asJSON, "json", false, "print one JSON object (docs/cli.md)")
	return cmd
}

// configs are the swarms asked for.
func (o *simulateOptions) configs() ([]simulate.Config, error) {
	if len(o.nodes) == 0 {
		return nil, cmdline.Usagef("--nodes: want one number or more")
	}
	if !(o.hours > 0 && o.hours <= 1000) {
		return nil, cmdline.Usagef("--hours %g: want more than 0, and 1000 at the most", o.hours)
	}
	o.cfg.Duration = time.Duration(o.hours * float64(time.Hour))
	o.cfg.Network, o.cfg.Model.LayerBytes, o.cfg.Model.KVBytes = simulate.Network(o.network), int64(o.layer), int64(o.kv)
	var all []simulate.Config
	for _, n := range o.nodes {
		cfg := o.cfg
		cfg.Nodes = n
		if err := cfg.Validate(); err != nil {
			return nil, cmdline.Usagef("%w", err)
		}
		all = append(all, cfg)
	}
	return all, nil
}

func (o *simulateOptions) run(cmd *cobra.Command) error {
	configs, err := o.configs()
	if err != nil {
		return err
	}
	var rows []simulateRow
	meter := cmdline.NewMeter(cmd.ErrOrStderr())
	for _, cfg := range configs {
		r, err := simulate.Run(cmd.Context(), cfg, func(share float64) {
			meter.Show("%s: %.0f %%", plural(cfg.Nodes, "node"), 100*share)
		})
		if err != nil {
			meter.Clear()
			return err
		}
		rows = append(rows, newSimulateRow(r))
		if r.Interrupted {
			break
		}
	}
	meter.Clear()
	last := rows[len(rows)-1]
	if o.asJSON {
		err = printJSON(cmd.OutOrStdout(), simulateResult{Hours: o.hours, Network: o.network, Churn: o.cfg.Churn, Crash: o.cfg.Crash, Layers: o.cfg.Model.Layers, Seed: o.cfg.Seed, Rows: rows})
	} else {
		err = printRows(cmd.OutOrStdout(), rows)
	}
	if err == nil && last.Interrupted {
		return fmt.Errorf("stopped early: of %s there are %.0f of %.0f minutes", plural(last.Nodes, "node"), 60*last.Hours, 60*o.hours)
	}
	return err
}

// simulateResult is what `simulate --json` prints, documented in docs/cli.md.
type simulateResult struct {
	Hours   float64       `json:"hours"`
	Network string        `json:"network"`
	Churn   float64       `json:"churn"`
	Crash   float64       `json:"crash"`
	Layers  int           `json:"layers"`
	Seed    uint64        `json:"seed"`
	Rows    []simulateRow `json:"rows"`
}

// simulateRow is one swarm. Times are in milliseconds, rates a second unless their names say otherwise.
type simulateRow struct {
	Nodes           int     `json:"nodes"`
	Users           int     `json:"users"`
	Hours           float64 `json:"hours"`
	Interrupted     bool    `json:"interrupted"`
	Coverage        float64 `json:"coverage"`
	LeastCopies     float64 `json:"least_copies"`
	CompleteMS      float64 `json:"complete_ms"`
	MovesPerNode    float64 `json:"moves_per_node_hour"`
	Requests        int     `json:"requests"`
	Done            int     `json:"done"`
	Lost            int     `json:"lost"`
	Refused         int     `json:"refused"`
	UnderWay        int     `json:"under_way"`
	Healed          int     `json:"healed"`
	TokensPerSecond float64 `json:"tokens_per_second"`
	Hops            float64 `json:"hops"`
	TokenMS         float64 `json:"token_ms"`
	TokenMS90       float64 `json:"token_ms_p90"`
	ComputeMS       float64 `json:"compute_ms"`
	QueueMS         float64 `json:"queue_ms"`
	FirstTokenMS    float64 `json:"first_token_ms"`
	FirstTokenMS90  float64 `json:"first_token_ms_p90"`
	Pauses          int     `json:"pauses"`
	PauseMS         float64 `json:"pause_ms"`
	PauseMS90       float64 `json:"pause_ms_p90"`
	LongestPauseMS  float64 `json:"longest_pause_ms"`
	DHTPuts         float64 `json:"dht_puts"`
	DHTGets         float64 `json:"dht_gets"`
	DHTBytes        float64 `json:"dht_bytes"`
	HotGets         float64 `json:"dht_hot_gets"`
	HotBytes        float64 `json:"dht_hot_bytes"`
	Questions       float64 `json:"status_questions"`
}

func newSimulateRow(r *simulate.Result) simulateRow {
	return simulateRow{
		Nodes: r.Nodes, Users: r.Users, Hours: r.Measured.Hours(), Interrupted: r.Interrupted,
		Coverage: r.Coverage, LeastCopies: r.Copies, CompleteMS: milliseconds(r.Complete), MovesPerNode: r.Moves,
		Requests: r.Asked, Done: r.Done, Lost: r.Lost, Refused: r.Refused, UnderWay: r.UnderWay, Healed: r.Healed,
		TokensPerSecond: r.TokensPerSecond, Hops: r.Hops, TokenMS: milliseconds(r.PerToken), TokenMS90: milliseconds(r.PerToken90),
		ComputeMS: milliseconds(r.Compute), QueueMS: milliseconds(r.Queue), FirstTokenMS: milliseconds(r.FirstToken), FirstTokenMS90: milliseconds(r.FirstToken90),
		Pauses: r.Pauses, PauseMS: milliseconds(r.Pause), PauseMS90: milliseconds(r.Pause90), LongestPauseMS: milliseconds(r.LongestPause),
		DHTPuts: r.DHT.FindNode + r.DHT.Puts, DHTGets: r.DHT.GetProviders + r.DHT.GetValue, DHTBytes: r.DHT.Answers,
		HotGets: r.DHT.HotGets, HotBytes: r.DHT.HotAnswers, Questions: r.DHT.Questions,
	}
}

// printRows prints what people read: two tables, since one would be too wide.
func printRows(w io.Writer, rows []simulateRow) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "nodes\tusers\tcovered\tcopies\tmoves/node/h\trequests\tdone\tlost\trefused\tms/token\tp90\tcompute\tqueue\tfirst token s\tp90\ttokens/s\t")
	for _, r := range rows {
		fmt.Fprintf(t, "%d\t%d\t%s\t%.1f\t%.2f\t%d\t%d\t%d\t%d\t%.0f\t%.0f\t%.0f\t%.0f\t%.1f\t%.1f\t%.1f\t\n", r.Nodes, r.Users, share(r.Coverage), r.LeastCopies, r.MovesPerNode,
			r.Requests, r.Done, r.Lost, r.Refused, r.TokenMS, r.TokenMS90, r.ComputeMS, r.QueueMS, r.FirstTokenMS/1000, r.FirstTokenMS90/1000, r.TokensPerSecond)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	fmt.Fprintln(t, "nodes\tpauses\tmedian s\tp90\tlongest\tDHT puts/node/s\tgets\tanswers kB/s\thot node gets/s\tMbit/s\tquestions/node/s\t")
	for _, r := range rows {
		fmt.Fprintf(t, "%d\t%d\t%.1f\t%.1f\t%.1f\t%.1f\t%.1f\t%.1f\t%.1f\t%.2f\t%.1f\t\n", r.Nodes, r.Pauses, r.PauseMS/1000, r.PauseMS90/1000, r.LongestPauseMS/1000,
			r.DHTPuts, r.DHTGets, r.DHTBytes/1000, r.HotGets, r.HotBytes*8/1e6, r.Questions)
	}
	return t.Flush()
}

// share is a percentage that says 100 only where it is whole.
func share(x float64) string {
	return fmt.Sprintf("%.2f %%", math.Floor(1e4*x)/100)
}
