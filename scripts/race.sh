#!/bin/sh
# The tests under the race detector. Packages with tests in synctest bubbles run on one P: a timer channel that fires in
# a goroutine of the bubble uses the bubble's one detector context, and two threads doing that at once crash the detector
# itself (golang.org/issue/78156). What happens before what is still seen; true parallelism is left to the other packages.
set -eu
all=$(mktemp) bubbles=$(mktemp)
trap 'rm -f "$all" "$bubbles"' EXIT
go list ./... >"$all"
go list -f '{{$p := .ImportPath}}{{range .TestImports}}{{if eq . "testing/synctest"}}{{$p}}{{"\n"}}{{end}}{{end}}{{range .XTestImports}}{{if eq . "testing/synctest"}}{{$p}}{{"\n"}}{{end}}{{end}}' ./... | grep . | sort -u >"$bubbles"
[ -s "$bubbles" ] || { echo "no package imports testing/synctest: this script is out of date"; exit 1; }

set -- -race -short -timeout 20m
grep -vxFf "$bubbles" "$all" | xargs go test "$@"
# -p: GOMAXPROCS is the go command's default for it.
GOMAXPROCS=1 xargs go test -p "$(getconf _NPROCESSORS_ONLN)" "$@" <"$bubbles"
