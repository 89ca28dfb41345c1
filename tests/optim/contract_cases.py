"""What `optim` exports and studies train with, as cases of optax's contract, and the problem they solve."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import PartitionSpec

import optim
from experiments.study.training.optimizers import OPTIMIZERS
from geometry import SPECTRAL

TO_SPECTRAL = optim.Choice(
    lambda gradients, **_: jax.tree.map(lambda g: jnp.sum(g * g), gradients), 2, initial="sign"
)
RANKS = ("rank_fraction", "rank_multiple")


@dataclasses.dataclass(frozen=True)
class Case:
    """A learning rate → transformation; how fast and how long it takes to optax's targets, 0 where it never
    gets there; what has hyperparameters to inject, with those that decide shapes; and whether it takes
    gradients in parts, takes them again elsewhere, needs all parameters, steps with a state that all varies
    over ranks, computes in another way where there are devices, and begins without the parameters' values."""

    build: Callable
    rate: float = 0.03
    steps: int = 3000
    factory: Callable | None = None
    static: tuple[str, ...] = ()
    parts: bool = False
    again: bool = False
    whole: bool = False
    apart: bool = True
    devices: bool = False
    valueless: bool = True


def matrices(*directions):
    """Directions for matrices alone, with Adam elsewhere: what is exported link by link."""
    return lambda rate: optim.routed(optax.chain(*directions, optim.descend(rate)), optax.adam(rate))


def adaptive(rate):
    controller = optim.BatchController(SPECTRAL, 8, 8, quantum=4, every=2)
    return optim.adaptive_batch(optim.muon, lambda _: rate, controller, microbatch_size=4)


def sampled(tx):
    """Drawn from before every update, as a training loop does; the gradient is taken at the mean."""

    def update(updates, state, params, **extra):
        _, state = optim.sample(jax.random.key(0), state, params)
        return tx.update(updates, state, params, **extra)

    return optax.GradientTransformationExtraArgs(tx.init, update)


def studied(name, factory, rate=0.03, steps=3000, static=(), **options):
    return Case(lambda rate: OPTIMIZERS[name].build(rate, 0.0), rate, steps, factory, static, **options)


def anchored(method, **options):
    return Case(lambda rate: method(optax.adam(rate), every=4, **options), 0.01, 6000, valueless=False)


def agreed(method):
    factory = functools.partial(method, axis_name=None, workers=1)
    return Case(factory, 0.01, factory=factory, static=("workers",))


CASES = {
    "adam": studied("adam", optax.adam),
    "sign_descent": studied("sign_descent", optim.sign_descent, 0.0008, 36_000),
    "signum": studied("signum", optim.signum, 0.01),
    # the matrices of those with steps of 0 converge in `test_contract`, other leaves by muon's fallback
    "spectral_descent": studied("spectral_descent", optim.spectral_descent, steps=0),
    "muon": studied("muon", optim.muon),
    "dion": studied("dion", optim.dion, steps=0, static=RANKS, devices=True),
    "orth_dion": studied("orth_dion", optim.orth_dion, steps=0, static=RANKS),
    "orth_dion_polar": Case(functools.partial(optim.orth_dion, right="polar"), steps=0, devices=True),
    "spec_sign": Case(
        functools.partial(optim.spec_sign, choice=TO_SPECTRAL, momentum=0.9),
        steps=0,
        factory=functools.partial(optim.spec_sign, choice=TO_SPECTRAL),
    ),
    "adaptive_batch": Case(  # its ranks share one batch, by `axis_name`
        adaptive, steps=6000, apart=False, devices=True
    ),
    "lion_cub": agreed(optim.lion_cub),
    "distributed_signum": agreed(optim.distributed_signum),
    "post_local_sgd": anchored(optim.post_local_sgd, start=10),
    "palsgd": anchored(optim.palsgd, mix=0.02),
    "record_noise": Case(
        lambda rate: optax.chain(optim.record_noise(8), optax.adam(rate)), parts=True, devices=True
    ),
    "schedule_free": Case(
        functools.partial(optim.schedule_free, functools.partial(optax.adam, b1=0.0)),
        0.1,
        9000,
        valueless=False,
    ),
    "sharpness_aware": Case(
        lambda rate: optim.sharpness_aware(optax.adam(rate), radius=1e-3), again=True, whole=True
    ),
    "smoothness_adaptive": Case(  # ends short of Rosenbrock's minimum, which its test has
        lambda _: optim.smoothness_adaptive(1e-4), steps=0, again=True, whole=True
    ),
    "conjugate_gradient": Case(
        lambda rate: optax.chain(optim.conjugate_gradient("hager_zhang"), optax.scale_by_learning_rate(rate)),
        0.001,
        12_000,
    ),
    "extragradient": Case(lambda rate: optim.extragradient(optax.adam(rate)), again=True, whole=True),
    "ivon": Case(lambda rate: sampled(optim.ivon(rate, examples=1e3)), 0.01, 6000, whole=True),
    "orthogonal_adamw": studied("orthogonal_adamw", None, steps=0),
    "muonh": dataclasses.replace(  # whose spheres do not hold the solution
        studied("muonh", None, steps=0), valueless=False
    ),
    "muon_cautious": Case(lambda rate: OPTIMIZERS["muon_cautious"].build(rate, 1e-7)),
    "normuon": studied("normuon", None, devices=True),
    "record_spectrum": Case(matrices(optim.record_spectrum(2), optim.scale_by_polar()), devices=True),
    "norm_control": Case(lambda rate: optim.norm_control(optax.adam(rate), decay=1e-7)),
    "diffgrad": studied("diffgrad", None, 0.06),
}
# those called dion, muon, spec_sign, `matrices`, `studied`, `anchored`, test_workers.py and test_attention.py
INSIDE = {
    "descend", "diloco", "hyperball", "local_sgd", "local_steps", "on_workers", "orthogonal_gradient",
    "qk_clip", "routed", "scale_by_diffgrad", "scale_by_dion", "scale_by_momentum", "scale_by_neuron_rms",
    "scale_by_polar", "scale_by_spec_sign", "snoo",
}  # fmt: skip
OPTAXS = {"adamw", "lion", "momentum", "optax_muon", "sgd"}  # whose contract it is; its adam is asked above
# `norm_control` and `sharpness_aware` around adam and momentum, `qk_clip` behind muon: asked on their own
AROUND = {"adamp", "asam", "muonclip", "sam"}
NO_TRANSFORMATION = {
    "AdaptiveBatchState", "BatchController", "BatchState", "CONJUGATE_RULES", "Choice", "ConjugateState",
    "Decay", "Description", "DiffGradState", "HyperballState", "IvonState", "KroneckerFactors",
    "LeafPlan", "LionCubState", "LocalState", "NeuronState", "NoiseIndex", "NoiseState", "NormControlState",
    "Route", "Routing", "SHAPE_SCALES", "STACKED", "ScheduleFreeState", "SmoothnessState", "SpectrumState",
    "WorkersState", "by_name", "compressed_specs", "describe", "equinox_routing", "evaluation_params",
    "natural_gradient", "posterior", "sample", "shape_scales",
}  # fmt: skip


TARGET = np.float32([[3.0, -2.0], [1.0, 4.0], [0.0, 1.0]])
SOLUTION = {
    "dense": {"kernel": TARGET},
    "embed": {"embedding": TARGET},
    "head": {"kernel": TARGET},
    "parabola": {"bias": np.float32([1.0, -1.0, 1.0])},
    "rosenbrock": {"bias": np.float32([1.0, 1.0])},
}
START = jax.tree.map(np.zeros_like, SOLUTION) | {"parabola": {"bias": np.float32([-1.0, 10.0, 1.0])}}
SPECS = {  # over Explicit axes
    "dense": {"kernel": PartitionSpec(None, "x")},
    "head": {"kernel": PartitionSpec()},
    "rosenbrock": {"bias": PartitionSpec("x")},
}


def objective(params):
    """optax's parabolas and its Rosenbrock function."""
    x, y = params["rosenbrock"]["bias"]
    parabolas = jax.tree.map(lambda w, best: jnp.sum((w - best) ** 2), params, SOLUTION)
    del parabolas["rosenbrock"]
    return (1 - x) ** 2 + 100 * (y - x**2) ** 2 + sum(jax.tree.leaves(parabolas))


def drawn(seed, leaves=SPECS):
    """Those of these names: a matrix, one for the fallback, and a vector."""
    rng = np.random.default_rng(seed)
    return {
        name: jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), x.dtype), START[name])
        for name in leaves
    }


def extra(case, gradients, grad_fn=None):
    """What its update takes beside; the gradient elsewhere is one of a quadratic unless told."""
    arguments = {}
    if case.parts:
        arguments["part_gradients"] = jax.tree.map(lambda g: jnp.stack([g - 0.1, g + 0.1]), gradients)
    if case.again:
        arguments["grad_fn"] = grad_fn or (lambda params: jax.tree.map(jnp.add, gradients, params))
    return arguments
