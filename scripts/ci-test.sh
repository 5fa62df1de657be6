#!/bin/sh
# The README's own test command, with its output kept: CI fails on a skip for lack of reference data.
set -eu
log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
GOFLAGS="${GOFLAGS:-} -v" make --no-print-directory test >"$log" 2>&1 || status=$?
grep -E '^(ok|FAIL|---  ?FAIL|--- FAIL|panic:|\?)' "$log" || true
if [ "$status" -ne 0 ]; then
	# The lines before each failure, then the end.
	grep -nE '^ *(FAIL: |panic: )|^ *--- FAIL' -B 25 "$log" | head -n 400
	tail -n 50 "$log"
	exit "$status"
fi
if [ -n "${SHARDNODE_TESTDATA:-}" ] && grep -n 'SHARDNODE_TESTDATA is not set' "$log"; then
	echo "tests were skipped although the reference data is there"
	exit 1
fi
# On a processor with AVX2 weights are packed and kernels are assembly: what tests that must run.
if grep -qw avx2 /proc/cpuinfo && [ -z "${SHARDNODE_CPU:-}" ] && grep -nE 'this path computes with weights as they are in the file|all is portable Go here' "$log"; then
	echo "tests of packed weights or of assembly were skipped although this processor has AVX2"
	exit 1
fi
# .ci/run installs the solvers that ours is compared with.
if grep -n 'the MPS file was not checked by another solver' "$log"; then
	echo "placements were not compared with other solvers"
	exit 1
fi
# And the browser that the web page is shown by.
if grep -n 'the page was not shown by a browser' "$log"; then
	echo "the web page was not tested"
	exit 1
fi
echo "passed $(grep -c '^--- PASS' "$log") tests, skipped $(grep -c '^ *--- SKIP' "$log" || true):"
grep -A1 '^ *--- SKIP' "$log" || true
