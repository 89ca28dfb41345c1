"""How to step: sign, spectral and low-rank spectral descent as optax transformations."""

from optim.adaptive_batch import AdaptiveBatchState, adaptive_batch
from optim.batch_control import BatchController, BatchState
from optim.describe import Description, LeafPlan, describe
from optim.equinox_modules import equinox_routing
from optim.flax_names import STACKED, by_name
from optim.layerwise import Choice, scale_by_spec_sign, spec_sign
from optim.low_rank import compressed_specs, dion, orth_dion, scale_by_dion
from optim.momentum import scale_by_momentum
from optim.noise import NoiseIndex, NoiseState, record_noise
from optim.route import Route
from optim.routing import Routing, routed
from optim.scales import SHAPE_SCALES, shape_scales
from optim.schedule_free import ScheduleFreeState, schedule_free
from optim.sign import sign_descent, signum
from optim.spectral import muon, scale_by_polar, spectral_descent
from optim.step import Decay, descend

__all__ = [
    "SHAPE_SCALES",
    "STACKED",
    "AdaptiveBatchState",
    "BatchController",
    "BatchState",
    "Choice",
    "Decay",
    "Description",
    "LeafPlan",
    "NoiseIndex",
    "NoiseState",
    "Route",
    "Routing",
    "ScheduleFreeState",
    "adaptive_batch",
    "by_name",
    "compressed_specs",
    "descend",
    "describe",
    "dion",
    "equinox_routing",
    "muon",
    "orth_dion",
    "record_noise",
    "routed",
    "scale_by_dion",
    "scale_by_momentum",
    "scale_by_polar",
    "scale_by_spec_sign",
    "schedule_free",
    "shape_scales",
    "sign_descent",
    "signum",
    "spec_sign",
    "spectral_descent",
]
