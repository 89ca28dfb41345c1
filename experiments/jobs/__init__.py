"""Which schedule for a training job of your own? Ask for trials, run them, tell what came of them."""

from experiments.jobs.command import main
from experiments.jobs.folder import Jobs, open_jobs

__all__ = ["Jobs", "main", "open_jobs"]
