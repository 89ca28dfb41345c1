"""What one run comes to, of all that was measured along it."""

import numpy as np
from jaxtyping import Float


def typical(values: Float[np.ndarray, "replicates *measured"]) -> Float[np.ndarray, "replicates"]:
    """The median over everything measured in a run.

    >>> typical(np.array([[1.0, 2.0, 9.0], [4.0, 4.0, 5.0]])).tolist()
    [2.0, 4.0]
    """
    return np.median(values.reshape(len(values), -1), axis=1)
