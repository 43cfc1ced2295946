# The CUDA device: built with the tag cuda against the project's own header and driver shim; a C compiler is all it takes.
# Tests run on the emulated driver, which takes g++ 12 or later.

CC  ?= cc
CXX ?= g++

CUDA_DRIVER = runtime/cuda/driver
CUDA_BIN    = $(CURDIR)/bin/cuda
CUDA_GO     = CGO_ENABLED=1 CGO_CFLAGS="-O2 -I$(CURDIR)/$(CUDA_DRIVER)/include -I$(CURDIR)/$(CUDA_DRIVER)/shim" \
              CGO_LDFLAGS="-L$(CUDA_BIN)" $(GO)
# Where the tool chain's wheels are unpacked.
CUDA_TOOLS ?= $(CURDIR)/.tools/cuda

.PHONY: cuda test-cuda vet-cuda kernels-cuda check-kernels check-cuda-header gpu-check test-gpu-check

# bin/isearle-cuda: as bin/isearle, with the CUDA device.
cuda: bin/cuda/libcuda.a
	$(CUDA_GO) build -tags cuda -trimpath -ldflags '$(LDFLAGS)' -o bin/isearle-cuda ./cmd/isearle

bin/cuda/libcuda.a: $(wildcard $(CUDA_DRIVER)/shim/*) $(CUDA_DRIVER)/include/cuda.h
	@mkdir -p bin/cuda
	$(CC) -O2 -fPIC -Wall -Wextra -I$(CUDA_DRIVER)/include -I$(CUDA_DRIVER)/shim -c $(CUDA_DRIVER)/shim/shim.c -o bin/cuda/shim.o
	rm -f $@
	ar rcsD $@ bin/cuda/shim.o

# The emulated driver with the kernels inside. Kernels are compiled with the thread sanitizer's hooks, which the emulator
# answers itself; its own files are not.
EMU_CXX = $(CXX) -std=c++17 -O2 -g -fPIC -Wall -Wextra -ffp-contract=off -I$(CUDA_DRIVER)/include -Ikernels
EMU_OBJ = $(patsubst kernels/emu/%.cc,bin/cuda/emu/%.o,$(wildcard kernels/emu/*.cc))
KERNEL_OBJ = $(patsubst kernels/%.cu,bin/cuda/emu/%.cu.o,$(wildcard kernels/*.cu kernels/emu/*.cu))

bin/cuda/emu/%.o: kernels/emu/%.cc $(wildcard kernels/emu/*.h) $(CUDA_DRIVER)/include/cuda.h
	@mkdir -p $(@D)
	$(EMU_CXX) -c $< -o $@

bin/cuda/emu/%.cu.o: kernels/%.cu $(wildcard kernels/*.cuh) kernels/emu/kernel.h
	@mkdir -p $(@D)
	$(EMU_CXX) -fsanitize=thread -x c++ -c $< -o $@

bin/cuda/libemu.so: $(EMU_OBJ) $(KERNEL_OBJ)
	$(CXX) -shared -Wl,-Bsymbolic -o $@ $^ -lpthread

test-cuda: bin/cuda/libcuda.a bin/cuda/libemu.so
	ISEARLE_CUDA_DRIVER=$(CUDA_BIN)/libemu.so $(CUDA_GO) test -tags cuda -timeout 30m ./runtime/cuda/... ./kernels/...
	ISEARLE_CUDA_DRIVER=$(CUDA_BIN)/libemu.so $(CUDA_GO) test -tags cuda -timeout 30m -run CUDA ./cmd/isearle

vet-cuda: bin/cuda/libcuda.a
	$(CUDA_GO) vet -tags cuda ./runtime/cuda/... ./kernels/...

# bin/gpu-check.tar.gz: what a machine with a GPU needs to check and measure, without Go: see kernels/gpucheck/gpu-check.sh.
gpu-check: cuda
	rm -rf bin/gpu-check
	mkdir -p bin/gpu-check/bin bin/gpu-check/tests bin/gpu-check/golden
	cp bin/isearle-cuda bin/gpu-check/bin/
	cp kernels/gpucheck/gpu-check.sh kernels/gpucheck/peers.py kernels/gpucheck/report.py bin/gpu-check/
	cp -R weights/golden/testdata/clip weights/golden/testdata/tokenizer weights/golden/testdata/cir bin/gpu-check/golden/
	$(CUDA_GO) test -c -tags cuda -trimpath -o bin/gpu-check/tests/cuda.test ./runtime/cuda
	$(CUDA_GO) test -c -tags cuda -trimpath -o bin/gpu-check/tests/driver.test ./runtime/cuda/driver
	$(CUDA_GO) test -c -tags cuda -trimpath -o bin/gpu-check/tests/bench.test ./cmd/isearle/internal/bench
	tar -C bin -czf bin/gpu-check.tar.gz gpu-check

# The bundle from end to end, unpacked elsewhere, tiny, on the emulated driver.
test-gpu-check: gpu-check bin/cuda/libemu.so
	rm -rf bin/gpu-check-test && mkdir bin/gpu-check-test
	tar -C bin/gpu-check-test -xzf bin/gpu-check.tar.gz
	QUICK=1 ISEARLE_CUDA_DRIVER=$(CUDA_BIN)/libemu.so bin/gpu-check-test/gpu-check/gpu-check.sh

# The header against NVIDIA's of 12.9: the same values, layouts and prototypes.
check-cuda-header: $(CUDA_TOOLS)/nvidia
	@mkdir -p bin/cuda
	cd $(CUDA_DRIVER)/gen && $(GO) run . -probe ../include/cuda.h > $(CUDA_BIN)/probe.cc
	$(CXX) -w -std=c++17 -I$(CUDA_DRIVER)/include -Wl,--unresolved-symbols=ignore-all $(CUDA_BIN)/probe.cc -o $(CUDA_BIN)/probe
	$(CUDA_BIN)/probe > $(CUDA_BIN)/probe.ours
	$(CXX) -w -std=c++17 -I$(CUDA_TOOLS)/nvidia/cuda_runtime/include -Wl,--unresolved-symbols=ignore-all $(CUDA_BIN)/probe.cc -o $(CUDA_BIN)/probe
	$(CUDA_BIN)/probe | diff $(CUDA_BIN)/probe.ours -

$(CUDA_TOOLS)/nvidia:
	python3 -m pip install -q --no-deps --target $(CUDA_TOOLS) nvidia-cuda-nvrtc-cu12==12.9.86 nvidia-cuda-runtime-cu12==12.9.79

bin/cuda/nvrtc: kernels/nvrtc/nvrtc.c
	@mkdir -p bin/cuda
	$(CC) -O2 -Wall -Wextra $< -o $@ -ldl

KERNELS_GEN = cd kernels/gen && $(GO) run . -dir $(CURDIR)/kernels -nvrtc $(CUDA_BIN)/nvrtc \
              -library $(CUDA_TOOLS)/nvidia/cuda_nvrtc/lib/libnvrtc.so.12

# Compile what changed; check-kernels compiles everything and compares.
kernels-cuda: bin/cuda/nvrtc $(CUDA_TOOLS)/nvidia
	$(KERNELS_GEN)

check-kernels: bin/cuda/nvrtc $(CUDA_TOOLS)/nvidia
	$(KERNELS_GEN) -check
