#!/usr/bin/env bash
# What the harness does on a GPU, in stages that each end in under three minutes and write their results at once.
#
#     benchmarks/gpu.sh WHEELS [OUT] [STAGE ...]
#
# WHEELS  a folder made by benchmarks/gpu_wheels.sh, which is installed beside what is there; - for none
# OUT     where results go: a log and a table in JSON for each stage, and summary.txt; build/gpu unless told otherwise
# STAGE   numbers of benchmarks/gpu/stages.py; all of them unless told otherwise
#
# GPU_REHEARSAL=1 lets the processor stand for the GPU, with fewer cases.
# GPU_FILES="NAME ..." are the files of cases/ for stage 2.
# The Python is the first python3 on PATH, which has torch and jax of whatever version.
set -euo pipefail
wheels=${1:?usage: benchmarks/gpu.sh WHEELS [OUT] [STAGE ...]}
out=${2:-build/gpu}
shift $(($# < 2 ? $# : 2))
mkdir -p "$out"
out=$(realpath "$out")

root=$(realpath "$(dirname "$0")/..")
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH}
if [ "$wheels" != - ]; then
    python3 -m pip install --quiet --no-index --no-deps --no-compile --no-cache-dir --disable-pip-version-check \
        --upgrade --target "$out/site" "$wheels"/*.whl
    export PYTHONPATH=$PYTHONPATH:$out/site
fi
cd "$root"
exec python3 benchmarks/gpu/stages.py "$out" "$@"
