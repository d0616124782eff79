#!/usr/bin/env bash
# Train one recipe in several processes, on one machine or several, by torchrun.
#
#   fit_torchrun.sh RECIPE PROCESSES [options of hybridlit fit]
#
# PROCESSES is of each machine. On several, run it on each of them with the same NODES, their number,
# and MASTER, host:port of one of them, in the environment.
set -euo pipefail
recipe=$1 processes=$2
shift 2
exec torchrun --nnodes "${NODES:-1}" --nproc-per-node "$processes" \
    --rdzv-backend c10d --rdzv-endpoint "${MASTER:-localhost:0}" --rdzv-id hybridlit \
    -m hybridlit fit --config "$recipe" --trainer.strategy ddp \
    --trainer.num_nodes "${NODES:-1}" --trainer.devices "$processes" "$@"
