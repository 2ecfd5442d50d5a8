#!/bin/sh
# The demo: two networks, one photograph, three engines that agree.
set -eu
out=${1:-build/demo}
photo=tests/data/cat.jpg
mkdir -p "$out"

step() { printf '\n== %s\n' "$*"; }

step "1. Compile two networks into artifact directories; each is checked against a float64 reference"
convc compile filters -o "$out/filters"
convc compile resnet18 -o "$out/resnet18"

step "2. Run the photograph $photo through both, on three engines"
for backend in reference onnx tvm; do
    echo "-- $backend"
    convc run "$out/filters" -i $photo --backend $backend -o "$out/cat.$backend.png"
    convc run "$out/resnet18" -i $photo --resize --imagenet --backend $backend
done

step "3. Do the three agree on it? Error, and its share of what rounding explains"
convc verify "$out/filters" -i $photo
convc verify "$out/resnet18" -i $photo --resize

step "4. What the compiler did to resnet18"
convc inspect resnet18 -O2

step "Done. Look at:"
ls "$out"/cat.tvm.*.png
echo "$out/resnet18/report.txt      what was done and checked"
echo "$out/resnet18/model.cir       the network after optimization, as text"
echo "(the weights are random: the classes mean nothing, the agreement does)"
