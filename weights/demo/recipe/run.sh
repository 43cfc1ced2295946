#!/bin/sh
# Makes the emoji world from nothing: packages, pictures, tokeniser, model, phi, gallery, figures.
# usage: run.sh BUILD OUT [train.py's flags]; BUILD keeps everything between runs, OUT is weights/demo.
set -eu
recipe=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1" && build=$(cd "$1" && pwd) && out=$(cd "$2" && pwd)
shift 2
# Large tensors are kept by malloc instead of being mapped and zeroed at every step; idle threads sleep.
export MALLOC_MMAP_THRESHOLD_=2000000000 MALLOC_TRIM_THRESHOLD_=8000000000 MALLOC_TOP_PAD_=268435456 OMP_WAIT_POLICY=passive

cp "$recipe/package.json" "$recipe/package-lock.json" "$build/"
(cd "$build" && npm ci --silent)
[ -d "$build/venv" ] || python3 -m venv "$build/venv"
"$build/venv/bin/pip" install --quiet -r "$recipe/requirements.txt"
python="$build/venv/bin/python"

[ -f "$build/sprites.npz" ] || "$python" "$recipe/render.py" "$build"
[ -f "$build/model/vocab.json" ] || "$python" "$recipe/bpe.py" "$build"
"$python" "$recipe/train.py" "$build" --schedule "$recipe/training.jsonl" "$@"
"$python" "$recipe/export.py" "$build" "$out"
"$python" "$recipe/gallery.py" "$build" "$out"

# phi is distilled by the product itself, over the model just written.
[ -f "$build/pictures/03999.png" ] || "$python" "$recipe/pictures.py" "$build" 4000
(cd "$out" && CGO_ENABLED=0 go build -o "$build/isearle" isearle/cmd/isearle)
"$build/isearle" phrases --grammar -n 64 -o "$build/phrases.jsonl"
"$build/isearle" phi train --lr 1e-3 --dropout 0.1 --epochs 60 --phrases "$build/phrases.jsonl" -o "$build/phi.safetensors" "$build/pictures"
"$build/isearle" convert --dtype f16 "$build/phi.safetensors" "$out/phi.safetensors"
"$python" "$recipe/evaluate.py" "$build" "$out" oti
