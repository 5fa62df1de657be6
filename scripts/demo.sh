#!/bin/sh
# Four shard nodes as plain processes on this machine, one question, and everything stopped again.
# Usage: demo.sh [QUESTION]
set -eu
cd "$(dirname "$0")/.."
question=${1:-What is artificial intelligence?}
state=$(mktemp -d "${TMPDIR:-/tmp}/shardnode-demo.XXXXXX")
export XDG_STATE_HOME="$state"
swarm="demo-$$"
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

i=0
for layers in 0-7 8-15 16-23 24-31; do
	bin/shardnode --layers "$layers" --swarm "$swarm" --data-dir "$state/node-$i" --threads 1 2>"$state/node-$i.log" &
	pids="$pids $!"
	i=$((i + 1))
done

i=0
while [ "$i" -lt 4 ]; do
	tries=0
	until bin/shardnode health --data-dir "$state/node-$i" >/dev/null 2>&1; do
		tries=$((tries + 1))
		if [ "$tries" -gt 300 ]; then
			echo "demo: node $i is not ready; its log:" >&2
			cat "$state/node-$i.log" >&2
			exit 1
		fi
		sleep 0.1
	done
	i=$((i + 1))
done

echo "four nodes are up: layers 0-7, 8-15, 16-23, 24-31" >&2
echo "> $question" >&2
bin/coordinator infer --swarm "$swarm" --verbose "$question"
