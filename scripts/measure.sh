#!/bin/sh
# The README's figures: four nodes as plain processes on this machine, RUNS answers from one after the other, median and range of each
# figure. Each coordinator is cold: it has an empty state directory and knows the first node's address, nothing else.
# Usage: measure.sh [RUNS [FLAGS of coordinator infer…]]
set -eu
cd "$(dirname "$0")/.."
runs=${1:-15}
[ $# -eq 0 ] || shift
state=$(mktemp -d "${TMPDIR:-/tmp}/shardnode-measure.XXXXXX")
export XDG_STATE_HOME="$state"
swarm="measure-$$"
threads=${THREADS:-1}
pids=""

stop() {
	trap - EXIT INT TERM
	[ -z "$pids" ] || kill $pids 2>/dev/null || true
	for p in $pids; do wait "$p" 2>/dev/null || true; done
	rm -rf "$state"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

first=""
for layers in 0-7 8-15 16-23 24-31; do
	bin/shardnode --layers "$layers" --swarm "$swarm" --data-dir "$state/$layers" --threads "$threads" --no-mdns \
		${first:+--bootstrap "$first"} 2>"$state/$layers.log" &
	pids="$pids $!"
	tries=0
	until bin/shardnode health --data-dir "$state/$layers" >/dev/null 2>&1; do
		tries=$((tries + 1))
		[ "$tries" -lt 300 ] || { cat "$state/$layers.log" >&2; exit 1; }
		sleep 0.1
	done
	[ -n "$first" ] || first=$(bin/shardnode health --data-dir "$state/$layers" --json | grep -o '/ip4/127.0.0.1/udp/[0-9]*/quic-v1')/p2p/$(
		bin/shardnode health --data-dir "$state/$layers" --json | sed 's/.*"peer":"\([^"]*\)".*/\1/')
done

i=0
while [ "$i" -lt "$runs" ]; do
	begin=$(date +%s%N)
	XDG_STATE_HOME="$state/cold-$i" bin/coordinator infer --swarm "$swarm" --no-mdns --bootstrap "$first" --json "$@" "What is AI?" >"$state/run"
	echo "\"wall_ms\":$((($(date +%s%N) - begin) / 1000000))" >>"$state/run"
	# What the coordinator took to start, find the nodes, choose a route and fetch the manifest, and to leave: all but the request itself.
	awk -F: -v RS=',|\n' '/"wall_ms"/ {w = $2} /"total_ms"/ {t = $2} END {printf "\"besides_ms\":%.0f\n", w - t}' "$state/run" >>"$state/run"
	cat "$state/run" >>"$state/all"
	i=$((i + 1))
done

echo "$runs runs, $(nproc) cores, nodes with --threads $threads, load before: $(cut -d' ' -f1 /proc/loadavg)"
for figure in overhead_ms_per_token tokens_per_second time_to_first_token_ms open_ms besides_ms; do
	grep -o "\"$figure\":[0-9.]*" "$state/all" | cut -d: -f2 | sort -n | awk -v name="$figure" '
		{v[NR] = $1} END {printf "%-24s median %8.2f  range %.2f to %.2f\n", name, v[int((NR + 1) / 2)], v[1], v[NR]}'
done
