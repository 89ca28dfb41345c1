"""What the methods of an optimizer ask of a training loop, beside gradients."""

from typing import Protocol, runtime_checkable

from jaxtyping import PRNGKeyArray, PyTree


@runtime_checkable
class Hooks(Protocol):
    """Where a step's gradient is taken, and what is evaluated; the module `optim` has both functions."""

    def sample(self, key: PRNGKeyArray, state: PyTree, params: PyTree) -> tuple[PyTree, PyTree]:
        """The parameters to take the next gradient at, and the optimizer's state that knows of them."""

    def evaluation_params(self, state: PyTree, params: PyTree) -> PyTree:
        """The parameters to evaluate; `params` themselves where the state has no others."""


class Plain:
    """The hooks of an optimizer that asks for nothing: both are the parameters themselves."""

    @staticmethod
    def sample(key: PRNGKeyArray, state: PyTree, params: PyTree) -> tuple[PyTree, PyTree]:
        return params, state

    @staticmethod
    def evaluation_params(state: PyTree, params: PyTree) -> PyTree:
        return params
