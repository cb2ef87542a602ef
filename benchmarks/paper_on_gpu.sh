#!/usr/bin/env bash
# What to run first on one GPU: the smallest experiment of each paper. README.md here says what each needs and how long it
# should take. A run that is finished is left alone; one that was interrupted goes on from its last whole checkpoint.
#
#   benchmarks/paper_on_gpu.sh [--option value …]    the options go to every run, e.g. --bf16 true or --data_dir D
#   benchmarks/paper_on_gpu.sh --list                prints the commands
#
# FOLDER (default: outputs/paper_on_gpu) is where the runs are written.
set -euo pipefail

folder="${FOLDER:-outputs/paper_on_gpu}"
launch=mosaic-ner
if [ "${1:-}" = "--list" ]; then
    launch=show
    shift
fi
more=("$@")

show() { # prints a command as it may be typed
    printf 'mosaic-ner'
    printf ' %q' "$@"
    printf '\n'
}

run() { # run NAME RECIPE [--option value …]
    local out="$folder/$1" resume=() checkpoint
    shift
    if [ "$launch" != show ]; then
        if [ -f "$out/results.json" ]; then
            echo "== $out is finished"
            return
        fi
        # A checkpoint is whole when it has trainer_state.json, which is written last.
        checkpoint="$(find "$out" -maxdepth 2 -path '*/checkpoint-*/trainer_state.json' 2>/dev/null | sort -V | tail -n 1 || true)"
        if [ -n "$checkpoint" ]; then
            resume=(--resume_from_checkpoint "$(dirname "$checkpoint")")
        fi
        echo "== $out"
    fi
    "$launch" "$@" --output_dir "$out" "${more[@]}" "${resume[@]}"
}

run aioner aioner/paper/biored
run span_cvae span_cvae/paper/single
run joint_ib joint_ib/paper/all
# GENIA's development sentences as training set, a tenth of their articles held out, GENIA's test sentences as test set.
run sruner sruner/paper/genia --corpora genia_dev --validation_fraction 0.1 \
    --parts '{"genia_dev":{"of":"genia","train":["validation"],"test":["test"]}}'

if [ "$launch" != show ]; then
    mosaic-ner results "$folder"/*
fi
