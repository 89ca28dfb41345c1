"""Many runs at once: one compiled program mapped over a mesh of devices."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

RUNS = "runs"


def run_mesh(num_devices: int | None = None) -> Mesh:
    """A mesh of the first `num_devices` devices, of all when None, with the one axis "runs".

    Raises ValueError when there are not that many.
    """
    devices = jax.devices()
    count = len(devices) if num_devices is None else num_devices
    if not 1 <= count <= len(devices):
        raise ValueError(f"num_devices must be in [1, {len(devices)}], the devices found, got {num_devices}")
    return jax.make_mesh((count,), (RUNS,), axis_types=(AxisType.Auto,), devices=devices[:count])


def sweep(
    run: Callable[[PyTree, PyTree], PyTree],
    inputs: PyTree,
    data: PyTree,
    *,
    mesh: Mesh | None = None,
    vectorize: int = 1,
) -> PyTree:
    """Call `run(row, data)` for every row of `inputs` and stack the results.

    The rows are split over the devices of the mesh (`shard_map`); a device takes its rows one group of
    `vectorize` after the other (`lax.map`), a group in one `vmap`. The result depends on `vectorize`, in
    the last bits, and not on the number of devices or of rows. A second call with the same function, mesh
    and shapes compiles nothing. Where the mesh spans several processes (`jax.distributed`), each makes the
    same call and gets all results.

    Args:
      run: a pure function; pass the same object again to reuse its compiled program.
      inputs: what differs from run to run, any pytree (learning rates, decays, momenta, keys) whose leaves
        have the runs as leading axis.
      data: what all runs share, any pytree; copied to every device once, not at all when it is there.
      mesh: a mesh with the axis "runs"; all devices when None.
      vectorize: how many runs a device computes side by side. 1 is fastest on a CPU for whatever is bound
        by matrix products; accelerators and tiny models want more.

    Raises:
      ValueError: `inputs` has no rows, or leaves of different lengths, or `vectorize` is below 1.
    """
    if vectorize < 1:
        raise ValueError(f"vectorize must be at least 1, got {vectorize}")
    lengths = {len(leaf) if jnp.ndim(leaf) else 0 for leaf in jax.tree.leaves(inputs)}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(f"inputs need one positive number of rows for all leaves, got {sorted(lengths)}")
    (num_runs,) = lengths
    mesh = run_mesh() if mesh is None else mesh
    data = _placed(data, NamedSharding(mesh, PartitionSpec()))
    padded = _padded(inputs, num_runs, mesh.size * vectorize)
    outputs = _mapped(run, mesh, vectorize, _placed(padded, NamedSharding(mesh, PartitionSpec(RUNS))), data)
    return jax.tree.map(lambda leaf: leaf[:num_runs], outputs)


def _padded(inputs: PyTree, num_runs: int, multiple: int) -> PyTree:
    """Repeat the last row until the devices get equal numbers of whole groups."""
    num_rows = -(-num_runs // multiple) * multiple
    if num_rows == num_runs:
        return inputs
    rows = jnp.minimum(jnp.arange(num_rows), num_runs - 1)
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[rows], inputs)


def _placed(tree: PyTree, sharding: NamedSharding) -> PyTree:
    """Put arrays on the mesh; where it spans several processes, each of them holds the same values."""
    if sharding.is_fully_addressable:
        return jax.device_put(tree, sharding)

    def place(leaf):
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            words = place(jax.random.key_data(leaf))
            return jax.random.wrap_key_data(words, impl=jax.random.key_impl(leaf))
        if isinstance(leaf, jax.Array) and leaf.sharding == sharding:
            return leaf
        values = np.asarray(leaf)
        return jax.make_array_from_callback(values.shape, sharding, lambda index: values[index])

    return jax.tree.map(place, tree)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _mapped(run, mesh: Mesh, vectorize: int, inputs: PyTree, data: PyTree) -> PyTree:
    def on_one_device(rows, shared):
        # lax.map vmaps groups even of one; a plain loop compiles to the better program
        group = None if vectorize == 1 else vectorize
        return jax.lax.map(lambda row: run(row, shared), rows, batch_size=group)

    mapped = jax.shard_map(
        on_one_device,
        mesh=mesh,
        in_specs=(PartitionSpec(RUNS), PartitionSpec()),
        out_specs=PartitionSpec(RUNS),
        check_vma=False,  # a run's scans start from constants, which do not vary over the mesh
    )
    outputs = mapped(inputs, data)
    everywhere = NamedSharding(mesh, PartitionSpec())
    if everywhere.is_fully_addressable:
        return outputs
    return jax.lax.with_sharding_constraint(outputs, everywhere)  # a process cannot read another one's rows
