#!/usr/bin/env bash
# What only a GPU can tell, in at most six minutes, as one JSON: benchmarks/gpu_check.sh --tokenizer E --data_dir D
# Options: see gpu_check.py. Without a GPU: --device cpu --shapes tiny.
cd "$(dirname "$0")/.." && exec python benchmarks/gpu_check.py "$@"
