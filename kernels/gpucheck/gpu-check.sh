#!/bin/sh
# Checks and measures isearle on a GPU. The machine needs the NVIDIA driver and, for the comparisons, Python 3 with PyTorch.
#
#   ./gpu-check.sh [PART...]      all parts, or some; each leaves its results in $OUT (./out), the report reads what is there
#
#   device     what is there
#   conform    the table of operations, searches, golden models, OTI and phi against the CPU device
#   parity     random ViT-B/32 and ViT-L/14 of true size against the CPU device
#   sanitize   a part of conform under compute-sanitizer, where it is installed
#   bench      images and captions, isearle and PyTorch: eager, torch.compile with CUDA graphs, in f32, f16 and bf16
#   profile    where the time of a run goes, by operation and by kernel, against the roofline
#   tiles      products of the towers' shapes with every tile
#   search     searches of 10 million x 512, isearle and torch.topk
#   oti        steps of textual inversion, isearle and SEARLE's own loop in PyTorch
#   report     RESULTS.md from what is in $OUT
#
# SHAPES="vit-b-32" leaves bench and profile the other model out, where a command's time is limited.
# QUICK=1 measures tiny sizes, to see that everything runs. ISEARLE_CUDA_DRIVER names another driver than libcuda.so.1.
set -u
here=$(cd "$(dirname "$0")" && pwd)
OUT=${OUT:-$here/out}
mkdir -p "$OUT"
OUT=$(cd "$OUT" && pwd)
QUICK=${QUICK:-}
PYTHON=${PYTHON:-python3}
isearle=$here/bin/isearle-cuda
ISEARLE_GOLDEN_CLIP=$here/golden/clip
ISEARLE_GOLDEN_TOKENIZER=$here/golden/tokenizer
ISEARLE_GOLDEN_CIR=$here/golden/cir
export ISEARLE_GOLDEN_CLIP ISEARLE_GOLDEN_TOKENIZER ISEARLE_GOLDEN_CIR
failed=

# keep FILE COMMAND...: run, show and keep the output; remember a failure.
keep() {
	file=$1
	shift
	echo "== $*" >&2
	{ "$@" 2>&1; echo "exit $?"; } | tee "$OUT/$file.part"
	mv "$OUT/$file.part" "$OUT/$file"
	tail -n 1 "$OUT/$file" | grep -qx 'exit 0' || failed="$failed $file"
}

# tests NAME BINARY ARGUMENTS...
tests() {
	name=$1 binary=$2
	shift 2
	(cd "$here/tests" && keep "$name.txt" "./$binary" -test.v -test.timeout 9m "$@")
	tail -n 1 "$OUT/$name.txt" | grep -qx 'exit 0' || failed="$failed $name"
}

device() {
	keep device.txt "$isearle" info --device cuda
	nvidia-smi --query-gpu=name,driver_version,clocks.max.sm,clocks.max.mem,power.limit --format=csv >"$OUT/smi.txt" 2>&1 || rm -f "$OUT/smi.txt"
}

conform() {
	tests driver driver.test -test.run 'TestLaunch|TestStarts'
	if [ "$QUICK" ]; then
		tests conform cuda.test -test.run 'TestSearchRounded|TestSteadyState|TestProductFragments'
	else
		tests conform cuda.test
	fi
}

parity() {
	ISEARLE_PARITY=${PARITY:-vit-b-32,vit-l-14}
	[ "$QUICK" ] && ISEARLE_PARITY=tiny
	export ISEARLE_PARITY
	tests parity bench.test -test.run '^TestParity$'
}

sanitize() {
	if ! command -v compute-sanitizer >/dev/null; then
		echo "compute-sanitizer is not installed" >"$OUT/sanitize.txt"
		return
	fi
	for tool in memcheck racecheck; do
		(cd "$here/tests" && keep "sanitize-$tool.txt" compute-sanitizer --tool "$tool" --error-exitcode 1 ./cuda.test \
			-test.run 'TestSearchRounded|TestProductFragments|TestSteadyState|TestGroupTiles|TestSearchNarrows|TestConformance/(linear|attention)')
		tail -n 1 "$OUT/sanitize-$tool.txt" | grep -qx 'exit 0' || failed="$failed sanitize-$tool"
	done
}

# bench_lines FILE ARGUMENTS...: JSON lines of isearle bench, appended.
bench_lines() {
	file=$1
	shift
	echo "== isearle bench $*" >&2
	if "$isearle" bench --device cuda --json "$@" >"$OUT/line.part" 2>"$OUT/line.err"; then
		cat "$OUT/line.part" >>"$OUT/$file"
	else
		echo "isearle bench $*: $(cat "$OUT/line.err")" | tee -a "$OUT/failures.txt" >&2
		grep -q 'not supported' "$OUT/line.err" || failed="$failed $file"
	fi
	rm -f "$OUT/line.part" "$OUT/line.err"
}

# model SHAPE: the flags of isearle bench for it.
model() {
	if [ "$1" = tiny ]; then echo "-m $here/golden/clip/hf_quickgelu_f32"; else echo "--shape $1"; fi
}

bench() {
	rm -f "$OUT/failures.txt"
	shapes="vit-b-32 vit-l-14" batches=1,8,32,256 types="bf16 f16 f32" time=2s
	[ "$QUICK" ] && shapes=tiny batches=1,2 types=f32 time=10ms
	for shape in ${SHAPES:-$shapes}; do
		rm -f "$OUT/bench-$shape.jsonl"
		for type in $types; do
			bench_lines "bench-$shape.jsonl" embed $(model "$shape") --dtype "$type" --batch "$batches" --time "$time"
		done
		bench_lines "bench-$shape.jsonl" text $(model "$shape") --dtype "${types%% *}" --batch "${batches%,*},64" --time "$time"
		keep "torch-bench-$shape.txt" "$PYTHON" "$here/peers.py" "$shape" "$OUT/torch-bench-$shape.jsonl" ${QUICK:+--quick}
	done
}

profile() {
	shapes="vit-b-32 vit-l-14" type=bf16 batch=256
	[ "$QUICK" ] && shapes=tiny type=f32 batch=2
	for shape in ${SHAPES:-$shapes}; do
		keep "profile-$shape.txt" "$isearle" bench embed --device cuda $(model "$shape") --dtype "$type" --batch "$batch" --time 1s --profile
	done
}

tiles() {
	[ "$QUICK" ] && return
	tests tiles cuda.test -test.run '^$' -test.bench Tiles -test.benchtime 20ms
}

search() {
	rm -f "$OUT/search.jsonl"
	rows=10000000 batches=1,8,64,1024 time=2s
	[ "$QUICK" ] && rows=5000 batches=1,9 time=10ms
	bench_lines search.jsonl search --rows "$rows" --dim 512 --row-dtype f16 --batch "$batches" --top 50 --time "$time"
	bench_lines search.jsonl search --rows "$((rows / 10))" --dim 512 --row-dtype f32 --passes 1,2 --batch "$batches" --top 50 --time "$time"
	bench_lines search.jsonl search --rows "$((rows / 10))" --dim 512 --row-dtype f16 --batch 1,64 --top 2048 --time "$time"
	[ "$QUICK" ] || tests searchshapes cuda.test -test.run '^$' -test.bench SearchShapes -test.benchtime 100ms
	keep torch-search.txt "$PYTHON" "$here/peers.py" search "$OUT/torch-search.jsonl" ${QUICK:+--quick}
}

oti() {
	rm -f "$OUT/oti.jsonl"
	keep torch-oti.txt "$PYTHON" "$here/peers.py" oti "$OUT/torch-oti.jsonl" ${QUICK:+--quick}
	[ "$QUICK" ] && return # the tiny model has not the vocabulary
	for type in bf16 f32; do
		bench_lines oti.jsonl oti --shape vit-b-32 --dtype "$type" --batch 32,1024 --time 2s
	done
}

report() { "$PYTHON" "$here/report.py" "$OUT" >"$OUT/RESULTS.md" && echo "$OUT/RESULTS.md" >&2; }

[ $# -gt 0 ] || set -- device conform parity sanitize bench profile tiles search oti
for part in "$@"; do
	case $part in
	device | conform | parity | sanitize | bench | profile | tiles | search | oti | report) "$part" ;;
	*)
		sed -n '2,/^set -u/p' "$0" | grep '^#' | cut -c3- >&2
		exit 2
		;;
	esac
done
report
[ -z "$failed" ] || { echo "failed:$failed" >&2; exit 1; }
