# make build   both programs into bin/
# make demo    a cache server, flask through it from the index, then from the cache alone
# make test    all tests
# make check   all that must hold before a change is done
# make lint    the linter alone; make fuzz: every fuzz target for FUZZTIME
# make stress  kills, interruptions and many processes at once, at length; three servers over a bucket when things go wrong (as root)
# make bench-fleet   16 machines and a build of a minute: how often it is built, also where the builder is killed at half; then
#                    a morning of CI on 1, 2 and 4 servers over one bucket (bench/README.md); ARGS=-faults when things go wrong,
#                    ARGS='-upgrade -old DIR' while servers are replaced one by one by another version
# make test-s3  the store in a bucket, and leases over it, against S3 servers that others use (versitygw, MinIO)
# make stress-server   a minute of mixed load on a server that is killed each 5 s; full and read-only disks (as root)
# make check-pip, check-uv   curd against the real pip and uv, over the network
# make check-clients       curd-server against pip from 9 to the newest, uv, poetry, pdm, pipx, twine, flit
# make check-lock          locks: reproduced, installed by pip and uv, and theirs by curd
# make check-fit           the platforms of what curd builds, against auditwheel
# make check-systems       builds of Debian's releases and of musl, used on each other (as root, on Debian)
# make check-pythons PYTHONS='/usr/bin/python3.9 ...'   what curd installs for other Pythons
# make check-page          the server's pages in Debian's chromium, with screenshots in bin/page
# make check-image   builds the image with buildah and runs it as it is meant to be run (as root, on Linux)
# make check-fleet   runs compose.fleet.yaml by Docker Compose over podman, and replaces its servers under load (as root, on Debian)
# make bench-catalog BENCH_DIR=/dev/shm   curd-server on folders of up to 200,000 wheels
# make bench   the solver on its hardest universes
# make bench-server ARGS=--quick   curd-server beside nginx, proxpi, devpi and pypiserver (bench/README.md)
# make bench-client ARGS=--quick   curd beside uv and pip: 130 wheels, cold and warm (bench/README.md)
# make bench-guard   allocations, requests and system calls, held against bench/guard/bounds.txt (part of make check)
# make bench-ci ARGS='--rounds 1'   a job in CI with pip, uv and curd, on fresh machines (bench/README.md)
# make man     the manual pages into man/
# make vectors SEED=n   hold the foundations against Python's newest `packaging`
#                       (without SEED: renew the committed vectors)
# make wheels  wheels of both programs for all platforms, into bin/wheels; make wheels-test installs them
# make release the wheels, archives, bill of materials and checksums, into bin/release
# make release-check   makes the release twice, in two folders, and compares

GO      ?= go
PYTHON  ?= python3
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
# The default index is the one of the building machine's pip.
INDEX   ?= $(shell $(PYTHON) -c 'from pip._internal.models.index import PyPI; print(PyPI.simple_url)' 2>/dev/null)
LDFLAGS  = -X main.version=$(VERSION) -X main.defaultIndex=$(INDEX)
PLATFORMS = linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64
# Each system other than this one, and each processor: what builds for these builds for all.
CROSS     = linux/arm64 darwin/arm64 windows/amd64
FUZZTIME ?= 10s
LINT_VERSION = v2.15.0
TOOLS    = $(CURDIR)/.tools

.PHONY: build demo test test-s3 race check lint fmt cross fuzz stress stress-server check-pip check-uv check-clients check-lock check-pythons check-fit check-systems \
	check-page check-image check-fleet bench bench-catalog bench-server bench-client bench-guard bench-ci bench-fleet man vectors \
	wheels wheels-test release release-check clean

build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "$(LDFLAGS)" -o bin/curd ./cmd/curd
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "$(LDFLAGS)" -o bin/curd-server ./cmd/curd-server

demo: build
	./demo.sh

test:
	$(GO) test ./...

race:
	$(GO) test -race ./...

# One S3 server is small and quick to build, the other is what many run: S3_SERVERS=versitygw leaves it out.
S3_SERVERS ?= versitygw minio
test-s3: $(S3_SERVERS:%=$(TOOLS)/%)
	$(foreach s,$(S3_SERVERS),CURDLING_$(shell echo $(s) | tr a-z A-Z)=$(TOOLS)/$(s)) $(GO) test $(RACE) -count=1 -v -run "TestReal|TestBucket" ./internal/store/s3 ./internal/store/bucket ./internal/lease ./cmd/curd-server

$(TOOLS)/versitygw:
	GOBIN=$(TOOLS) $(GO) install github.com/versity/versitygw/cmd/versitygw@v1.8.0

$(TOOLS)/minio:
	GOBIN=$(TOOLS) $(GO) install github.com/minio/minio@latest

check: fmt lint cross race bench-guard

fmt:
	@test -z "$$(gofmt -l bench cmd internal packaging)" || { echo "gofmt these:"; gofmt -l bench cmd internal packaging; exit 1; }
	$(GO) mod tidy -diff

lint: $(TOOLS)/golangci-lint-$(LINT_VERSION)
	$< run

$(TOOLS)/golangci-lint-$(LINT_VERSION):
	GOBIN=$(TOOLS) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)
	mv $(TOOLS)/golangci-lint $@

cross:
	@for p in $(CROSS); do echo "build $$p"; \
		CGO_ENABLED=0 GOOS=$${p%/*} GOARCH=$${p#*/} $(GO) build ./... || exit 1; done

fuzz:
	@for pkg in $$($(GO) list ./internal/...); do \
		for f in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
			echo "$$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$pkg || exit 1; \
		done; done

# Many processes over one cache, kills and interruptions at random instants.
stress: build $(TOOLS)/versitygw
	$(GO) run ./bench/fleet -faults -quick
	CURDLING_STRESS=50 $(GO) test -count=1 -v -timeout 60m -run 'TestManyProcesses|TestKilled|TestInterrupted|TestFleet' ./cmd/curd

bench-fleet: build $(TOOLS)/versitygw
	CURDLING_STRESS=1 $(GO) test -count=1 -v -timeout 10m -run TestFleetOfOneBuild ./cmd/curd
	$(GO) run ./bench/fleet $(ARGS)

stress-server:
	CURDLING_STRESS_SERVER=60 $(GO) test -count=1 -v -timeout 10m -run 'TestMixedLoad|TestFullAndReadOnly|TestFullDisk' ./cmd/curd-server ./internal/store/filecache

# What curd installs against what pip installs; what it resolves against uv. These dial the default index.
check-pip: build
	checks/pip.py bin/curd

check-uv: build
	checks/uv.py bin/curd "$$(command -v uv)"

check-pythons: build
	checks/pythons.py bin/curd $(PYTHONS)

check-fit: build
	checks/fit.py bin/curd

check-systems: build
	checks/systems.py $(ARGS) bin/curd bin/curd-server

check-clients: build
	checks/clients.py bin/curd-server

check-lock: build
	checks/lock.py bin/curd "$$(command -v uv)"

check-page: build
	cd checks && npm ci
	checks/page.mjs bin/curd-server bin/page

bench:
	bench/resolve/run.sh

# It needs root, buildah, and pip's index for flask.
check-image:
	checks/image.sh

# It needs root, podman with netavark and aardvark-dns, Debian's unstable for nginx and Docker Compose, and port 8000.
check-fleet: $(TOOLS)/versitygw
	checks/fleet.sh

# How a server starts, answers and takes uploads with 2,000, 20,000 and 200,000 wheels.
bench-catalog: build
	$(GO) run ./bench/catalog -server bin/curd-server -dir "$${BENCH_DIR:-/tmp}"

bench-server:
	$(PYTHON) -m bench.server $(ARGS)

bench-client: build
	$(PYTHON) -m bench.client $(ARGS)

bench-guard: build
	$(GO) run ./bench/guard $(ARGS)

bench-ci: build
	$(PYTHON) -m bench.ci $(ARGS)

man: build
	bin/curd man man
	bin/curd-server man man

VECTORS = version tag dist marker requirement metadata lock config
vectors:
	./vectors.sh "$(SEED)" $(VECTORS)

# RELEASE=1.2.3 names the version of these; else it comes from git's tags, in Python's form.
RELEASE ?= $(shell $(GO) run ./packaging version)

wheels release:
	rm -rf bin/$@
	$(GO) run ./packaging $@ -version "$(RELEASE)" -index "$(INDEX)" -o bin/$@

wheels-test: build wheels
	packaging/wheels-test.sh bin/wheels bin/curd bin/curd-server

release-check: release
	packaging/release-check.sh bin/release "$(RELEASE)" "$(INDEX)"

clean:
	rm -rf bin man
