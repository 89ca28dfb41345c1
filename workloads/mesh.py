"""The devices of a sweep: an axis of runs, and one that shares the examples of every batch."""

import jax
from jax.sharding import AxisType, Mesh, PartitionSpec
from jaxtyping import Array

RUNS, DATA = "runs", "data"


def run_mesh(num_devices: int | None = None, *, data_parallel: int = 1) -> Mesh:
    """A mesh of the first `num_devices` devices, of all when None, with the axes "runs" and "data".

    Args:
      num_devices: as many as there are when None.
      data_parallel: devices on the axis "data", which compute a run together, each a part of every batch;
        all devices on it make a single large run.

    Raises ValueError when there are not that many devices, or `data_parallel` does not divide them.
    """
    devices = jax.devices()
    count = len(devices) if num_devices is None else num_devices
    if not 1 <= count <= len(devices):
        raise ValueError(f"num_devices must be in [1, {len(devices)}], the devices found, got {num_devices}")
    if data_parallel < 1 or count % data_parallel:
        raise ValueError(f"data_parallel must be a divisor of the {count} devices, got {data_parallel}")
    shape = count // data_parallel, data_parallel
    return jax.make_mesh(shape, (RUNS, DATA), axis_types=(AxisType.Auto,) * 2, devices=devices[:count])


def data_shards() -> int:
    """How many devices share a batch where this is traced."""
    mesh = jax.sharding.get_abstract_mesh()
    return mesh.shape[DATA] if DATA in _auto_axes(mesh) else 1


def split_over_data(array: Array, axis: int) -> Array:
    """The same array, of which each device of the mesh's axis "data" computes an equal part along `axis`.

    The compiler then splits what is computed from it likewise, and adds up what is summed over it. Without
    effect where the mesh in scope has no such axis.
    """
    if data_shards() == 1:
        return array
    spec = [PartitionSpec.UNCONSTRAINED] * array.ndim
    spec[axis] = DATA
    return jax.lax.with_sharding_constraint(array, PartitionSpec(*spec))


def _auto_axes(mesh) -> list[str]:
    return [
        name for name, kind in zip(mesh.axis_names, mesh.axis_types, strict=True) if kind == AxisType.Auto
    ]
