"""How long runs take, and what of it is for a micro-batch, an update, a measurement."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from experiments.adaptive_batch_size.config import ADAPTIVE, Config
from experiments.adaptive_batch_size.strategies import Contestant, contestants
from experiments.adaptive_batch_size.training import (
    UPDATES,
    adaptive_training,
    constant_training,
    control_probe,
    trial_row,
)
from experiments.study.training.tuning import CONFIRM, Trial, Tuned
from schedules.search import Estimate
from workloads import Workload

NEVER = 2**30  # updates from one measurement to the next


class Timing(NamedTuple):
    """Seconds of whole runs of one contestant, by repeat.

    Attributes:
      seconds: of the run as it is studied.
      updates: how many that run made.
      fixed_small: of the same program where the batch stays small and nothing is measured; none where the
        batch is constant anyway.
      fixed_large: the same where it is large from the start.
    """

    seconds: tuple[float, ...]
    updates: int
    fixed_small: tuple[float, ...] = ()
    fixed_large: tuple[float, ...] = ()


class Pace(NamedTuple):
    """What a contestant's run takes.

    Attributes:
      run: seconds of a run, the median over repeats.
      microbatch: of them for a micro-batch; of a constant batch, for as many examples.
      update: for an update on top; 0 where the batch is constant.
      overhead: what measuring adds to the run, as a fraction, with the range over repeats; None where the
        batch is constant.
    """

    run: float
    microbatch: float
    update: float
    overhead: Estimate | None

    def along(
        self, microbatches: Float[np.ndarray, "points"], updates: Float[np.ndarray, "replicates points"]
    ) -> Float[np.ndarray, "replicates points"]:
        """The seconds that were gone after so many micro-batches and updates. Measuring is spread evenly."""
        gone = self.microbatch * microbatches + self.update * updates
        return self.run * gone / gone[:, -1:]


def measure_timings(tuned: Mapping[str, Tuned], config: Config, workload: Workload) -> dict[str, Timing]:
    """Time a run of every contestant at its best learning rate: in turn, several times, on one device."""
    calls: dict[tuple[str, str], Callable[[], Any]] = {}
    for contestant in contestants(config):
        calls |= _calls(contestant, tuned[str(contestant)], config, workload)
    updates = {call: int(run()[0]) for call, run in calls.items()}
    seconds: dict[tuple[str, str], list[float]] = {call: [] for call in calls}
    for _ in range(config.timing_repeats):
        for call, run in calls.items():
            begun = time.perf_counter()
            jax.block_until_ready(run())
            seconds[call].append(time.perf_counter() - begun)
    return {
        name: Timing(
            updates=updates[name, "seconds"],
            **{kind: tuple(of) for (of_name, kind), of in seconds.items() if of_name == name},
        )
        for name in map(str, contestants(config))
    }


def pace(timing: Timing, config: Config) -> Pace:
    """What the timed runs say.

    Two runs of the program that measure nothing, with known numbers of updates, tell the seconds of a
    micro-batch and of an update; what the studied run takes beyond those is for measuring.
    """
    seconds = np.array(timing.seconds)
    run, microbatches = float(np.median(seconds)), config.num_microbatches
    if not timing.fixed_small:
        return Pace(run, run / microbatches, 0.0, None)
    small, large = np.array(timing.fixed_small), np.array(timing.fixed_large)
    few, many = config.samples / config.large_batch, config.num_microbatches
    update = np.maximum(small - large, 0) / (many - few)
    microbatch = (large - few * update) / microbatches
    overhead = seconds / (microbatches * microbatch + timing.updates * update) - 1
    return Pace(
        run,
        float(np.median(microbatch)),
        float(np.median(update)),
        Estimate(float(np.median(overhead)), float(overhead.min()), float(overhead.max())),
    )


def _calls(
    contestant: Contestant, tuned: Tuned, config: Config, workload: Workload
) -> dict[tuple[str, str], Callable[[], tuple[Array, Any]]]:
    """The runs to time, by name and kind; each returns the updates it made, and what it ends with."""
    name = str(contestant)
    row = trial_row(Trial(CONFIRM, tuned.setting, 0, 0), jax.random.key(config.seed))

    @jax.jit
    def constant(row, data):
        stages = constant_training(contestant, config, workload, row, data)
        run = stages.whole(contestant.num_steps(config))
        return jnp.asarray(config.samples // contestant.batch_size(config)), run.metrics

    @jax.jit
    def adaptive(row, data, batch_size, every):
        controller = replace(contestant.controller(config), batch_size=batch_size, every=every)
        last = config.num_microbatches - 1
        stages = adaptive_training(
            contestant, config, workload, row, data, controller, probe=control_probe, probe_every=last
        )
        run = stages.whole(config.num_microbatches)
        return run.probes[UPDATES][-1] + 1, run.metrics

    if contestant.strategy not in ADAPTIVE:
        return {(name, "seconds"): lambda: constant(row, workload.data)}
    kinds = {
        "seconds": (config.small_batch, config.measure_every),
        "fixed_small": (config.small_batch, NEVER),
        "fixed_large": (config.large_batch, NEVER),
    }
    return {(name, kind): partial(adaptive, row, workload.data, *control) for kind, control in kinds.items()}
