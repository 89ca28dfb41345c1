"""The gradient noise of a workload's examples, measured beside a run and not from its own batches."""

from typing import NamedTuple

from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from geometry import Moments
from geometry.noise import NOISE_GEOMETRIES
from optim.routing import BY_NAME
from workloads import Workload
from workloads.gradients import part_gradients


class FreshNoise(NamedTuple):
    """Measures noise scales from fresh examples, of which there may be more than in a run's batch: the norm
    of a small batch's gradient is mostly noise, and the scale then comes out as the batch size.

    Attributes:
      workload: what is trained.
      examples: drawn for a measurement.
      parts: equal ones that they are split in.
    """

    workload: Workload
    examples: int
    parts: int

    def scales(self, params: PyTree, data: PyTree, key: PRNGKeyArray) -> dict[str, Float[Array, ""]]:
        """The noise scale in each geometry that has one, by its name."""
        (indices,) = self.workload.indices(key, self.examples, 1)
        _, gradients = part_gradients(self.workload, self.parts, 1)(params, data, indices, key)
        moments = Moments.of(gradients, BY_NAME.optional_view)
        return {
            geometry.name: moments.estimate(self.examples, geometry).value for geometry in NOISE_GEOMETRIES
        }
