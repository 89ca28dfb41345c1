#!/bin/bash
# Sixteen workers of a SLURM cluster, each on one GPU, until the search is finished:
#
#     sbatch slurm_array.sh FOLDER python pytorch_loop.py
#
# A task that is requeued has its old name, and so gets back the trial that it had. What a node took down with
# it for good is given to another task once it is older than a run can be.
#SBATCH --array=1-16
#SBATCH --gres=gpu:1
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append

folder=$1
shift
STALE=8 PAUSE=60 exec sh "$SLURM_SUBMIT_DIR/worker.sh" "$folder" "task $SLURM_ARRAY_TASK_ID" "$@"
