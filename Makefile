# shardnode: build, test and run. `make help` lists the targets.

GO      ?= go
BIN     := bin
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS := -s -w -X github.com/shardnode/shardnode/internal/cmdline.version=$(VERSION)
GOBUILD := CGO_ENABLED=0 $(GO) build -trimpath -ldflags "$(LDFLAGS)"

# Pinned tools; none of them is in go.mod.
GOLANGCI := $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

FUZZTIME ?= 5s
SOAK     ?= 10m
BENCH_MODEL ?= $(BIN)/bench-1.5b-q4_0.gguf
PLATFORMS := linux/amd64 linux/arm64 darwin/arm64 windows/amd64

.DEFAULT_GOAL := help
.PHONY: help build test placement race lint fuzz-smoke vet-cross bench bench-serve demo e2e simulate scale soak screenshots weak-networks chaos chaos-smoke measure testnet testnet-image notices notices-check release ci ci-test clean tidy-check exact generated

help: ## show this list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build both programs into bin/
	@mkdir -p $(BIN)
	$(GOBUILD) -o $(BIN)/ ./cmd/shardnode ./cmd/coordinator

test: ## run all tests (under 5 minutes on two cores)
	$(GO) test ./...

race: ## run the tests under the race detector, but for those that only compute
	@scripts/race.sh

lint: ## vet and golangci-lint, formatting included
	$(GO) vet ./...
	$(GOLANGCI) config verify
	$(GOLANGCI) run ./...

tidy-check: ## go.mod and go.sum say what the code imports
	$(GO) mod tidy -diff
	@$(GO) list -m -f '{{.Version}}' github.com/quic-go/quic-go | grep -qx v0.64.1 || { echo "quic-go must stay at v0.64.1: later versions break webtransport-go, which libp2p builds"; exit 1; }

vet-cross: ## vet for every platform we build for
	@for p in $(PLATFORMS); do echo "vet $$p"; GOOS=$${p%/*} GOARCH=$${p#*/} CGO_ENABLED=0 $(GO) vet ./cmd/... ./pkg/... ./internal/... || exit 1; done

exact: ## arithmetic is the same at another GOAMD64 level, and on every path that this processor has
	GOAMD64=v3 $(GO) test ./internal/kernel ./pkg/sampler ./pkg/layers
	@for p in generic avx2 avx512 amx; do \
		case "$$p" in avx2) grep -qw avx2 /proc/cpuinfo || continue ;; avx512) grep -qw avx512_vnni /proc/cpuinfo || continue ;; amx) grep -qw amx_int8 /proc/cpuinfo || continue ;; esac; \
		echo "SHARDNODE_CPU=$$p"; SHARDNODE_CPU=$$p $(GO) test -count=1 ./internal/kernel ./pkg/sampler ./pkg/layers ./pkg/engine || exit 1; done

generated: ## the committed assembly is what its generator writes
	$(GO) generate ./internal/kernel
	git diff --exit-code -- internal/kernel

fuzz-smoke: ## every fuzz target for FUZZTIME (5s)
	@scripts/fuzz.sh $(FUZZTIME)

bench: ## Go benchmarks: products in GB/s and GOP/s beside this machine's stream read and integer peak, loading, draws, frames, hops, pauses, answers
	$(GO) test -run '^$$' -bench . ./internal/kernel ./pkg/layers ./pkg/sampler ./pkg/protocol ./pkg/engine ./pkg/p2p ./internal/node

bench-serve: build ## eight streams beside one, and a prompt of 512 tokens that comes again, through four nodes: BENCH_MODEL, or 1.5 billion parameters in Q4_0
	@[ -f $(BENCH_MODEL) ] || $(BIN)/coordinator model synth $(BENCH_MODEL) --shape 1.5b --type q4_0
	SHARDNODE_BENCH_MODEL=$(abspath $(BENCH_MODEL)) $(GO) test -run '^$$' -bench BenchmarkServe -benchtime 5x -timeout 1h ./internal/api

demo: build ## four nodes and a coordinator as plain processes on this machine
	@scripts/demo.sh

e2e: ## the programs as users run them, end to end (part of test)
	$(GO) test -count=1 ./test/e2e

placement: ## plans against every plan of 10,000 small instances of each objective, and against CBC and GLPK on 300 (test has a part)
	SHARDNODE_EXHAUSTIVE=1 $(GO) test -count=1 -v -run 'Against' ./pkg/placement/solver

simulate: ## 200 schedules of real nodes and real QUIC on a simulated network where everything goes wrong (test has 30 of them)
	SHARDNODE_SIM_SCHEDULES=200 $(GO) test -count=1 -timeout 30m -run TestChaos ./internal/client

scale: ## the DHT of up to 64 real nodes against the model of docs/scale.md (test has up to eight), then its table: long
	SHARDNODE_EXHAUSTIVE=1 $(GO) test -count=1 -v -timeout 1h -run 'TestLoad|TestLookups' ./pkg/discovery
	$(GO) run ./cmd/coordinator simulate --nodes 10,30,100,300 --hours 10
	$(GO) run ./cmd/coordinator simulate --nodes 1000,3000,10000 --hours 0.25

soak: ## 100,000 schedules of state machines, 1,000 of real nodes; 1,000 streams opened and dropped; then full load on every core for SOAK (10m): nobody may be taken for lost, no request may fail
	SHARDNODE_SIM_SCHEDULES=100000 $(GO) test -count=1 -v -timeout 1h -run TestSimulation ./pkg/engine
	SHARDNODE_SIM_SCHEDULES=1000 $(GO) test -count=1 -v -timeout 2h -run TestChaos ./internal/client
	SHARDNODE_STREAMS=1000 $(GO) test -count=1 -v -timeout 1h -run TestStreamsDropped ./internal/api
	SHARDNODE_SOAK=$(SOAK) $(GO) test -count=1 -v -timeout 24h -run TestNoLossUnderLoad ./test/e2e

screenshots: ## the pictures of the web page in docs/img, by Chromium (with the fonts Inter and JetBrains Mono)
	@mkdir -p docs/img
	SHARDNODE_SCREENSHOTS=$(CURDIR)/docs/img $(GO) test -count=1 -run TestScreenshots ./internal/page

weak-networks: ## the table of docs/placement.md: plans on simulated networks with jitter and loss
	SHARDNODE_WEAK_SEEDS=8 $(GO) test -count=1 -v -run TestWeakNetworks ./internal/survey

chaos: build ## real processes, a replica for every range: kill, freeze, restart, drain, pull cables (as root) under load; prints a table
	$(GO) run ./tools/chaos -bin $(BIN) $(CHAOS)

chaos-smoke: build ## a short chaos, which CI runs: kill and freeze each hop, drain it, then a rolling restart
	$(GO) run ./tools/chaos -bin $(BIN) -rounds 1 -users 2 -rolling 20 -faults 'kill -9,freeze,drain'

measure: build ## the README's figures: four nodes on this machine, 15 answers
	@scripts/measure.sh 15

testnet-image: ## the container image, FROM scratch
	@mkdir -p $(BIN)/image
	GOOS=linux $(GOBUILD) -o $(BIN)/image/ ./cmd/shardnode ./cmd/coordinator
	docker build -q -t shardnode:dev -f deploy/Dockerfile $(BIN)/image

testnet: testnet-image ## four containers and a coordinator: start, generate, stop
	@scripts/testnet.sh

notices: ## rewrite THIRD_PARTY_NOTICES.md
	@mkdir -p $(BIN)
	$(GO) run ./tools/notices >$(BIN)/notices.md && mv $(BIN)/notices.md THIRD_PARTY_NOTICES.md

notices-check: ## THIRD_PARTY_NOTICES.md names what the programs link
	@$(GO) run ./tools/notices | diff THIRD_PARTY_NOTICES.md - >/dev/null || { echo "THIRD_PARTY_NOTICES.md is out of date: run make notices"; exit 1; }

release: ## static binaries for all platforms, with checksums, into dist/
	@scripts/release.sh "$(LDFLAGS)" $(PLATFORMS)

ci-test:
	@scripts/ci-test.sh

ci: tidy-check notices-check generated lint vet-cross ci-test placement simulate race exact fuzz-smoke demo chaos-smoke testnet release ## everything CI runs

clean: ## remove what was built
	rm -rf $(BIN) dist
