#!/usr/bin/env bash
# Rows of the paper on one GPU of 80 GB, in one command of at most nine minutes:
#
#   LLPF_DATA=FOLDER bash benchmarks/gpu.sh OUT [MINUTES] [OPTIONS OF benchmarks/gpu.py]
#
# OUT receives lines.jsonl (see benchmarks/reproduce.py), rates.json, log.txt, and as many of the trained networks as
# fit in the rest of seven files of 15 MiB each. What MINUTES do not suffice for is left out, and the log says so.
set -euo pipefail
out=${1:?name the folder that receives the results: bash benchmarks/gpu.sh OUT [MINUTES]}
minutes=${2:-9}
shift $(($# < 2 ? $# : 2))
cd "$(dirname "$0")/.."
mkdir -p "$out"
PYTHONPATH="$PWD:$PWD/adapters${PYTHONPATH:+:$PYTHONPATH}" exec "${PYTHON:-python3}" -u benchmarks/gpu.py "$out" --minutes "$minutes" "$@" \
  > >(tee -a "$out/log.txt") 2>&1
