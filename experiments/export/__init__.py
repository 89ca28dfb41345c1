"""The winning schedule of a finished study for a trainer: as a table, as code, or its nearest schedule."""

from experiments.export.command import main

__all__ = ["main"]
