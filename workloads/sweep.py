"""Many runs at once: one compiled program mapped over a mesh of devices."""

from collections.abc import Callable

from jax.sharding import Mesh
from jaxtyping import PyTree

from workloads.long_sweep import long_sweep
from workloads.run import AtOnce


def sweep(
    run: Callable[[PyTree, PyTree], PyTree],
    inputs: PyTree,
    data: PyTree,
    *,
    mesh: Mesh | None = None,
    vectorize: int = 1,
    capacity: int | None = None,
) -> PyTree:
    """Call `run(row, data)` for every row of `inputs` and stack the results.

    The rows are split over the devices of the mesh (`shard_map`); a device takes its rows one group of
    `vectorize` after the other, a group in one `vmap`. The results of a row are the same, bit for bit, where
    its group is computed by the same program: for any number of rows within one `capacity`, and on any number
    of devices beyond one. They differ by round-off between one device and several, which XLA compiles
    otherwise, and between values of `vectorize`.
    A second call with the same function, mesh and shapes compiles nothing, nor does one with another number
    of rows within the same capacity. Where the mesh spans several processes (`jax.distributed`), each makes
    the same call and gets all results.

    Args:
      run: a pure function; pass the same object again to reuse its compiled program.
      inputs: what differs from run to run, any pytree (learning rates, decays, momenta, keys) whose leaves
        have the runs as leading axis.
      data: what all runs share, any pytree; copied to every device once, not at all when it is there.
      mesh: a mesh with the axis "runs", over which the rows are split; all devices when None. Where it has an
        axis "data" too, its devices compute a row together, as `train` does (see `run_mesh`).
      vectorize: how many runs a device computes side by side. 1 is fastest on a CPU for whatever is bound
        by matrix products; accelerators and tiny models want more.
      capacity: the number of rows that the compiled program has room for, that of `inputs` when None, and at
        least two groups on each device; room that is not used costs memory and no time.

    Raises:
      ValueError: `inputs` has no rows, leaves of different lengths or more rows than `capacity`, or
        `vectorize` is below 1.
    """
    options = {"mesh": mesh, "vectorize": vectorize, "capacity": capacity}
    return long_sweep(AtOnce(run), inputs, data, **options).whole(0)
