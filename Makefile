# isearle: composed image retrieval. `make demo` and `make test` need Go and a C++ compiler only.

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS  = -s -w -X main.version=$(VERSION)
PREFIX  ?= /usr/local
COMMANDS = demo embed compose search invert tokenize info convert bench eval
FUZZTIME ?= 10s
export CGO_ENABLED = 0

# Modules that generate code, each under the package that it serves.
GENERATORS = $(dir $(wildcard */*/gen/go.mod */*/*/gen/go.mod */*/*/*/gen/go.mod))

.PHONY: all build demo test test-noasm test-arm64 race lint fuzz bench bench-peers install kernels generate check-generate demo-model clean

all: build

build: bin/isearle

# The static binary, the default model inside.
bin/isearle: FORCE
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $@ ./cmd/isearle

FORCE:

demo: build
	bin/isearle demo

# Everything, then the packages with assembly again in portable Go.
test:
	$(GO) vet ./...
	$(GO) test ./...
	$(GO) test -tags noasm ./runtime/... ./clipnet ./clipnet/preprocess/... ./phi

test-noasm:
	$(GO) test -tags noasm ./...

# Needs qemu-user (Debian: qemu-user-static).
test-arm64:
	GOARCH=arm64 $(GO) test -timeout 30m -exec qemu-aarch64-static ./runtime/... ./clipnet/... ./phi ./weights/half ./weights/safetensors

race:
	CGO_ENABLED=1 $(GO) test -race ./runtime/... ./clipnet/... ./search/...

lint:
	@out=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$out" || { echo "gofmt: $$out"; exit 1; }
	$(GO) vet ./...
	$(GO) vet -tags noasm ./...
	GOARCH=arm64 $(GO) vet ./...

# Every fuzz target for FUZZTIME.
fuzz:
	@for p in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz'); do \
	    echo "$$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$p || exit 1; \
	  done; done

bench: build
	bin/isearle bench

# isearle and its peers in turns, the table into BENCHMARKS.md (python3 with venv; the first time installs 6 GB and takes an hour).
# ROWS=b32,text measures a part, QUICK=1 less of everything, PEERS=DIR keeps the peers elsewhere.
bench-peers: build
	python3 cmd/isearle/internal/bench/peers/peers.py $(if $(ROWS),--rows $(ROWS)) $(if $(QUICK),--quick) $(if $(PEERS),--peers $(PEERS)) $(BENCHFLAGS)

install: build
	install -D bin/isearle $(DESTDIR)$(PREFIX)/bin/isearle
	for c in $(COMMANDS); do ln -sf isearle $(DESTDIR)$(PREFIX)/bin/isearle-$$c; done

# The CUDA kernels from the pinned tool chain (kernels/cuda.mk), and the assembly of the CPU device and of the preprocessing from their
# generators.
kernels: kernels-cuda
	$(GO) generate ./runtime/cpu/simd ./clipnet/preprocess/internal/pixel

generate:
	$(GO) generate ./...

# The committed generated files must be what the generators give.
check-generate: generate
	git diff --exit-code

# The embedded model, phi and gallery from nothing (hours; needs python3, node and npm), then the gallery's features.
demo-model:
	weights/demo/recipe/run.sh .demo-build weights/demo
	$(GO) test ./search -run TestDemoFeatures -update

clean:
	rm -rf bin

-include kernels/cuda.mk
