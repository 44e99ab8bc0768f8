# Everything that is done with this repository. `make` alone lists it.
SHELL := /bin/bash
.DEFAULT_GOAL := help
export CGO_ENABLED = 0

ENV      ?= auto
DURATION ?= 60s
SEEDS    ?= 1000
FUZZTIME ?= 10s

# Packages with goroutines of their own, tested under the race detector.
RACE = ./raftnode/actionlog ./raftnode/bus ./raftnode/client ./raftnode/faultfs ./raftnode/gossip ./raftnode/membership ./raftnode/seams ./raftnode/server \
  ./workload/... ./checker/... ./results/... ./runner/... ./nemesis/... ./cluster/... ./sweep/...

.PHONY: help build verify run soak sweep scenarios fuzz test race lint mutants bench bench-peers bench-recipes image clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## the two static binaries, in bin/
	go build -trimpath -o bin/ ./cmd/...

verify: build ## a short run of everything on Docker, else in network namespaces: start here
	bin/coup verify --env $(ENV)

run: build ## a run of DURATION, e.g. make run DURATION=10m ENV=netns
	bin/coup run --env $(ENV) --duration $(DURATION)

soak: build ## leaders that end themselves, and others that are ended, for DURATION, e.g. make soak DURATION=8h
	bin/coup soak --env $(ENV) --duration $(DURATION)

sweep: build ## SEEDS short runs of the simulator on all cores, all invariants checked
	bin/coup sweep --seeds $(SEEDS)

scenarios: build ## play all scenarios
	bin/coup scenario -q scenario/testdata

fuzz: ## every fuzz test for FUZZTIME
	@grep -rHo --include='*_test.go' '^func Fuzz[A-Za-z]*' . | while IFS=: read -r file found ; do \
	  echo "$$(dirname $$file) $${found#func }" ; \
	  go test $$(dirname $$file) -run '^$$' -fuzz "^$${found#func }\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x || exit 1 ; \
	done

test: build ## all tests; those that need Docker or namespaces say why they skip
	go test ./...

race: ## the tests of what has goroutines, under the race detector
	CGO_ENABLED=1 go test -race -short $(RACE)

lint: ## gofmt, go vet, staticcheck
	@test -z "$$(gofmt -l .)" || { gofmt -l . ; echo 'not gofmt-ed: run gofmt -w .' ; exit 1 ; }
	go vet ./...
	go tool staticcheck ./...

mutants: build ## seeded bugs: each must be caught, and the real node must pass the same run
	bin/coup mutants --env sim --quick --seed 1 --benign-seeds 100
	bin/coup mutants --env netns

bench: build ## throughput of nodes without faults, and of the simulator; writes docs/performance.md
	bin/coup bench --env netns --nodes 5 --clients 32 --write docs/performance.md
	bin/coup bench --env sim --write docs/performance.md

bench-peers: build ## raftnode beside etcd, in turns; writes docs/performance.md
	cd bench && go build -trimpath -o ../bin/etcd go.etcd.io/etcd/server/v3 && go build -trimpath -o ../bin/peers .
	bin/peers --write docs/performance.md

bench-recipes: build ## what rolling restarts and growth cost clients, in namespaces and containers; writes docs/performance.md
	@for env in netns docker ; do for recipe in rolling-restart growth ; do \
	  bin/coup run --env $$env --recipe $$recipe --write docs/performance.md || exit 1 ; \
	done ; done

image: build ## the node's image, coup/raftnode
	docker build -t coup/raftnode -f docker/Dockerfile bin

clean: ## what killed runs left, and what was built
	-test ! -x bin/coup || bin/coup clean
	rm -rf bin
