"""Matrices on a mesh are computed whole by their owners: what the compiled programs communicate, counted."""

import re
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AbstractMesh, AxisType, NamedSharding, PartitionSpec

from geometry import NewtonSchulz
from optim import describe, dion, muon, scale_by_dion, scale_by_polar
from optim.placement import Placement

COLLECTIVE = re.compile(r"= (.*?) (all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter)\(")
BYTES = {"f32": 4, "s32": 4}
ONE_STEP = NewtonSchulz(steps=1)
ROWS, COLUMNS = PartitionSpec("x"), PartitionSpec(None, "x")


def mesh_of(sizes, kind=AxisType.Auto):
    names = ("x", "y")[: len(sizes)]
    return jax.make_mesh(sizes, names, axis_types=(kind,) * len(sizes))


def leaf(shape, mesh, spec):
    return jax.ShapeDtypeStruct(shape, jnp.float32, sharding=NamedSharding(mesh, spec))


def communicated(tx, params, state):
    """How often each collective stands in the compiled update, and the bytes that each device receives."""
    layout = jax.tree.map(lambda leaf: leaf.sharding, (params, state))
    update = jax.jit(tx.update, out_shardings=layout)
    found = COLLECTIVE.findall(update.lower(params, state).compile().as_text())
    arrays = [array for shapes, _ in found for array in re.findall(r"(\w+)\[([\d,]*)\]", shapes)]
    received = sum(
        BYTES[dtype] * int(np.prod([int(n) for n in sizes.split(",") if n])) for dtype, sizes in arrays
    )
    return Counter(name for _, name in found), received


CASES = {  # mesh, layout, kernels (count, shape), what is moved and how often
    "rows": ((8,), ROWS, ((12, (8, 8)), (12, (8, 16))), {"all-to-all": 2}),
    "columns": ((8,), COLUMNS, ((12, (8, 8)), (12, (8, 16))), {"all-to-all": 2}),
    "both, on two axes": ((2, 4), PartitionSpec("x", "y"), ((5, (8, 16)),), {"all-to-all": 4}),
    "those that stand with those that lie": ((8,), ROWS, ((3, (8, 16)), (3, (16, 8))), {"all-to-all": 2}),
    "sizes that are not packed": ((8,), ROWS, ((3, (8, 16)), (3, (8, 20))), {"all-to-all": 4}),
    "two axes, by which none are": (
        (2, 4),
        PartitionSpec("x", "y"),
        ((5, (8, 8)), (5, (8, 16))),
        {"all-to-all": 8},
    ),
    "a single matrix": ((8,), ROWS, ((1, (8, 16)),), {"all-gather": 1}),
    "a large one, by rows": (
        (8,),
        ROWS,
        ((1, (32, 2**18)),),
        {"all-to-all": 2, "all-gather": 1, "all-reduce": 1},
    ),
}


def kernels(mesh, spec, groups):
    return {
        f"layer_{place}_{count}_{'x'.join(map(str, shape))}": {"kernel": leaf(shape, mesh, spec)}
        for count, shape in groups
        for place in range(count)
    }


@pytest.mark.parametrize(
    ("case", "kind"),
    [
        *((case, AxisType.Auto) for case in CASES),
        # which count as Auto inside the update: one of each way
        *(
            (case, AxisType.Explicit)
            for case in ("both, on two axes", "a single matrix", "a large one, by rows")
        ),
    ],
)
def test_a_batch_is_moved_once_there_and_once_back_by_each_axis(case, kind):
    sizes, spec, groups, expected = CASES[case]
    params = kernels(mesh_of(sizes, kind), spec, groups)
    tx = scale_by_polar(ONE_STEP)
    counted, received = communicated(tx, params, optax.EmptyState())
    assert counted == expected
    batches = describe(tx, params).batches
    assert sum(batch.collectives for batch in batches) == sum(expected.values())
    assert sum(batch.received for batch in batches) == received


EXPERTS = {"up": (8, 16), "gate": (8, 16), "down": (16, 8)}


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
def test_experts_that_their_devices_own_already_stay_where_they_are(kind):
    mesh = mesh_of((8,), kind)
    params = {name: {"kernel": leaf((8, *shape), mesh, ROWS)} for name, shape in EXPERTS.items()}
    assert communicated(scale_by_polar(ONE_STEP), {"experts": params}, optax.EmptyState())[0] == {}


def test_the_plan_of_twelve_layers_on_eight_devices():
    params = kernels(mesh_of((8,)), ROWS, ((12, (256, 256)), (12, (256, 1024))))
    with pytest.warns(UserWarning, match="no leaf was recognised as the output head"):
        description = describe(muon(0.02, polar=ONE_STEP), params)
    # in float32, and units of 256 × 256: two wide matrices there and back, of 12 · 5/8 units a device
    unit = 4 * 256 * 256
    # 2 · 256³ times the products of a step: XXᵀ, A² and PX
    square, wide = (2 * 256**3 * products for products in (1 + 1 + 1, 4 + 1 + 4))
    assert description.batches == (
        Placement(
            ((12, (256, 1024)), (12, (256, 256))),
            ((2, 0),) * 4 + ((1, 3),) * 4,
            flops := max(2 * wide, wide + 3 * square),
            flops / (12 * (square + wide)),
            2,
            2 * 2 * 4 * unit,
            2 * 12 * 5 * unit // 8,
        ),
    )
    assert description.batches[0].received < 1.1 * description.batches[0].least
    assert flops < 2 * (wide + square)  # of a device that owns two of each
    words = str(description).splitlines()[-1]
    assert re.split(r" {2,}", words)[1:] == ["2 + 0, 1 + 3", "604", "12%", "2", "4.19", "3.93"]


def test_the_plan_of_a_scanned_mixture_of_experts():
    """24 layers of 8 experts each, on a machine that need not be there."""
    mesh = AbstractMesh((2, 4), ("x", "y"), axis_types=(AxisType.Auto,) * 2)
    params = {
        "layers": {
            "query": {"kernel": leaf((24, 16, 4, 4), mesh, PartitionSpec(None, "x", "y"))},
            "experts": {"wi": leaf((24, 8, 16, 64), mesh, PartitionSpec(None, None, "x", "y"))},
        },
        "head": {"kernel": leaf((16, 96), mesh, PartitionSpec("x", "y"))},
    }
    description = describe(muon(0.02, polar=ONE_STEP), params)
    assert [(leaf.path, leaf.route) for leaf in description.leaves] == [
        ("head/kernel", "head"),
        ("layers/experts/wi", "hidden"),
        ("layers/query/kernel", "hidden"),
    ]
    assert description.batches == (  # there and back over two axes, in float32
        Placement(
            *(((24 * 8, (16, 64)),), ((24,),) * 8, 24 * 2 * 16**3 * 9, 1 / 8),
            *(4, 4 * 24 * 4 * 16 * 64, 2 * 24 * 4 * 16 * 64),
        ),
        Placement(
            *(((24, (16, 16)),), ((3,),) * 8, 3 * 2 * 16**3 * 3, 1 / 8),
            *(4, 4 * 3 * 4 * 16 * 16, 2 * 3 * 4 * 16 * 16),
        ),
    )


@pytest.mark.parametrize(
    "case", ["those that stand with those that lie", "both, on two axes", "a single matrix"]
)
def test_a_low_rank_method_moves_its_buffer_too_and_gathers_its_warm_starts(case):
    sizes, spec, groups, _ = CASES[case]
    params = kernels(mesh_of(sizes), spec, groups)
    tx = scale_by_dion(rank=2)
    state = jax.eval_shape(tx.init, params)._replace(buffers=params)
    counted, received = communicated(tx, params, state)
    batches = describe(tx, params).batches
    assert sum(batch.collectives for batch in batches) == sum(counted.values())
    assert sum(batch.received for batch in batches) == received


def test_the_plan_of_a_low_rank_method():
    params = kernels(mesh_of((8,)), ROWS, ((12, (8, 16)),)) | {
        "head": {"kernel": leaf((8, 8), mesh_of((8,)), ROWS)}
    }
    (batch,) = describe(dion(0.02, rank=2), params).batches
    # the buffer there and, with the direction, back; warm starts from eight devices that own two each
    assert (batch.collectives, batch.dealt) == (4, ((2,),) * 4 + ((1,),) * 4)
    assert batch.received == 4 * (2 * 3 * 8 * 16 + 16 * 16 * 2)
    assert batch.least == 4 * (12 * 3 * 8 * 16 // 8 + 12 * 16 * 2)
    assert batch.share == 2 / 12


def test_on_one_device_there_is_nothing_to_share_out():
    params = {"dense": {"kernel": jnp.ones((4, 8))}, "head": {"kernel": jnp.ones((8, 2))}}
    assert describe(muon(0.02), params).batches == ()
