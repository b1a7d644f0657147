#!/usr/bin/env bash
# Downloads what a machine with torch and jax, but without Keras and without a package index, lacks to run
# benchmarks/gpu.sh: a few wheels, of the versions that constraints.txt pins.
#
#     benchmarks/gpu_wheels.sh DIR [PYTHON_VERSION]        3.12 unless told otherwise
set -euo pipefail
folder=${1:?usage: benchmarks/gpu_wheels.sh DIR [PYTHON_VERSION]}
python=${2:-3.12}
constraints=$(dirname "$0")/../constraints.txt

platforms=()
for glibc in 2_28 2_27 2_17; do
    platforms+=(--platform "manylinux_${glibc}_x86_64")
done
for name in cattrs keras namex optree pydot; do
    python3 -m pip download --quiet --no-deps --only-binary=:all: --python-version "$python" --implementation cp \
        "${platforms[@]}" --platform manylinux2014_x86_64 --dest "$folder" "$(grep "^$name==" "$constraints")"
done
ls -l "$folder"
