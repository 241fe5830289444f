# `make demo` shows the program, `make test` proves it, `make bench` compares it;
# all install what this machine lacks, saying so. `make help` lists the rest.

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
GOBUILD := CGO_ENABLED=0 go build -buildvcs=false -trimpath -ldflags '-s -w -X main.version=$(VERSION)'

# Pinned, and run by version, so that go.mod stays a list of what the program
# itself needs.
STATICCHECK := go run honnef.co/go/tools/cmd/staticcheck@v0.8.2

BENCH_PARTS := archive delivered restore wake commit memory cleanup base delta delay files resume runbook switchover

.PHONY: help build demo test clusters unit kills switchovers copy-kills crash-matrix split-brain matrix types lint bench $(BENCH_PARTS:%=bench-%) install-demo install-test install-bench clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build the static binary bin/warmrun
	$(GOBUILD) -o bin/warmrun ./cmd/warmrun

demo: install-demo build ## a whole cluster's life in under a minute, on this machine
	bin/warmrun lab demo

# The whole clusters wait most of their time, for servers, disks and each other:
# more of them run at once than there are processors, and the rest beside them.
# They do without the race detector, which would see only what writes to them and
# compares (tests/cluster, whose own tests are among the others): the program is
# processes of their own there, built as users build it. The memory of a million
# files is measured without it, since it would be the detector's.
test: install-test lint ## everything: lint, unit and script tests, whole clusters on real servers
	@$(MAKE) --no-print-directory -j 2 clusters unit

clusters: install-test ## the tests of whole clusters alone
	CGO_ENABLED=0 go test -trimpath -parallel 5 -timeout 40m ./tests

# Without GORACE each process that the detector watches would wait a second before
# it exits, and the tests start hundreds of them.
unit: export GORACE := atexit_sleep_ms=10
unit: ## all tests but those of whole clusters
	CGO_ENABLED=1 go test -race -parallel 4 -timeout 60m -skip '^TestMemory$$' $$(go list ./... | grep -v '/tests$$')
	CGO_ENABLED=0 go test -trimpath -run '^TestMemory$$' ./builtins/filesync

kills: ## a thousand processes that die while WAL is shipped, and no row lost
	KILLS=1000 go test -count=1 -timeout 80m -v -run TestProcessesKilled ./tests

switchovers: install-test ## a hundred switchovers and a hundred failovers under load, and twenty hosts lost
	SWITCHOVERS=100 FAILOVERS=100 HOSTS_LOST=20 go test -count=1 -timeout 170m -v -run 'TestSwitchovers$$|TestFailoversUnderLoad$$|TestHostsLost$$' ./tests

split-brain: install-test ## links cut in every way, before and in the middle of changes of state, with a client at every node
	SPLIT_BRAIN=all go test -count=1 -timeout 60m -v -run TestSplitBrain ./tests

crash-matrix: install-test ## every shipped runbook, killed at every boundary of its steps and gone on with
	CRASH_MATRIX=all go test -count=1 -timeout 300m -v -run TestCrashMatrix ./tests

matrix: install-test ## everything that depends on the version, on PostgreSQL 10 to 18, which are fetched; writes the table in README.md
	go run ./tests/matrix -readme README.md

bench: install-bench ## WAL shipping, restoring and copying beside rsync, pgbackrest, pg_basebackup and cp; BENCH=-quick for few rounds; one part: bench-archive, bench-delivered, bench-restore, bench-wake, bench-commit, bench-memory, bench-cleanup, bench-base, bench-delta, bench-delay, bench-files, bench-resume, bench-runbook, bench-switchover
	go run ./tests/bench $(BENCH)

# One part alone: make bench-archive, bench-delivered, bench-restore, bench-wake,
# bench-commit, bench-memory, bench-cleanup, and for copies bench-base,
# bench-delta, bench-delay (as root), bench-files, bench-resume; bench-runbook; bench-switchover.
$(BENCH_PARTS:%=bench-%): bench-%: install-bench
	go run ./tests/bench -part $* $(BENCH)

types: ## what editors and linters know of runbooks, and runbooks/REFERENCE.md, from the registry of operations
	go run ./cmd/warmrun runbook types runbooks

copy-kills: ## a copy whose two sides are killed 200 times, and ends right
	KILLS=200 go test -count=1 -timeout 60m -v -run TestKills ./builtins/filesync

lint: ## gofmt, go vet, staticcheck, and that go.mod is tidy
	@unformatted=$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go')); \
	if [ -n "$$unformatted" ]; then echo "not formatted, run gofmt -w on:" >&2; echo "$$unformatted" >&2; exit 1; fi
	go vet ./...
	$(STATICCHECK) ./...
	go mod tidy -diff

install-demo: ## install what the demo needs (the PostgreSQL server)
	@sh tests/install.sh demo

install-test: ## install what the tests need (PostgreSQL, OpenSSH, strace, gcc)
	@sh tests/install.sh test

install-bench: ## install what the benchmark compares with (rsync, pgbackrest, OpenSSH)
	@sh tests/install.sh bench

clean: ## remove what was built
	rm -rf bin
