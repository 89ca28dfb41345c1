"""How to step: by sign, spectral or conjugate directions, to flat minima or a posterior, as optax does."""

from optim.adaptive_batch import AdaptiveBatchState, adaptive_batch
from optim.attention import qk_clip
from optim.batch_control import BatchController, BatchState
from optim.conjugate import CONJUGATE_RULES, ConjugateState, conjugate_gradient
from optim.describe import Description, LeafPlan, describe
from optim.difference import DiffGradState, scale_by_diffgrad
from optim.equinox_modules import equinox_routing
from optim.flax_names import STACKED, by_name
from optim.hooks import evaluation_params, sample
from optim.hyperball import HyperballState, hyperball
from optim.kronecker import KroneckerFactors, natural_gradient
from optim.layerwise import Choice, scale_by_spec_sign, spec_sign
from optim.lion_cub import LionCubState, distributed_signum, lion_cub
from optim.local_methods import diloco, local_sgd, palsgd, post_local_sgd, snoo
from optim.local_steps import LocalState, local_steps
from optim.look_ahead import extragradient
from optim.low_rank import compressed_specs, dion, orth_dion, scale_by_dion
from optim.momentum import scale_by_momentum
from optim.neurons import NeuronState, scale_by_neuron_rms
from optim.noise import NoiseIndex, NoiseState, record_noise
from optim.projection import NormControlState, norm_control, orthogonal_gradient
from optim.route import Route
from optim.routing import Routing, routed
from optim.scales import SHAPE_SCALES, shape_scales
from optim.schedule_free import ScheduleFreeState, schedule_free
from optim.sharpness import sharpness_aware
from optim.sign import sign_descent, signum
from optim.smoothness import SmoothnessState, smoothness_adaptive
from optim.spectral import muon, scale_by_polar, spectral_descent
from optim.spectrum import SpectrumState, record_spectrum
from optim.step import Decay, descend
from optim.variational import IvonState, ivon, posterior
from optim.workers import WorkersState, on_workers

__all__ = [
    "CONJUGATE_RULES",
    "SHAPE_SCALES",
    "STACKED",
    "AdaptiveBatchState",
    "BatchController",
    "BatchState",
    "Choice",
    "ConjugateState",
    "Decay",
    "Description",
    "DiffGradState",
    "HyperballState",
    "IvonState",
    "KroneckerFactors",
    "LeafPlan",
    "LionCubState",
    "LocalState",
    "NeuronState",
    "NoiseIndex",
    "NoiseState",
    "NormControlState",
    "Route",
    "Routing",
    "ScheduleFreeState",
    "SmoothnessState",
    "SpectrumState",
    "WorkersState",
    "adaptive_batch",
    "by_name",
    "compressed_specs",
    "conjugate_gradient",
    "descend",
    "describe",
    "diloco",
    "dion",
    "distributed_signum",
    "equinox_routing",
    "evaluation_params",
    "extragradient",
    "hyperball",
    "ivon",
    "lion_cub",
    "local_sgd",
    "local_steps",
    "muon",
    "natural_gradient",
    "norm_control",
    "on_workers",
    "orth_dion",
    "orthogonal_gradient",
    "palsgd",
    "post_local_sgd",
    "posterior",
    "qk_clip",
    "record_noise",
    "record_spectrum",
    "routed",
    "sample",
    "scale_by_diffgrad",
    "scale_by_dion",
    "scale_by_momentum",
    "scale_by_neuron_rms",
    "scale_by_polar",
    "scale_by_spec_sign",
    "schedule_free",
    "shape_scales",
    "sharpness_aware",
    "sign_descent",
    "signum",
    "smoothness_adaptive",
    "snoo",
    "spec_sign",
    "spectral_descent",
]
