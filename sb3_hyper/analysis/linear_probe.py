"""A linear probe: what can be read off latents by a linear map, and nothing cleverer."""

from __future__ import annotations

from typing import NamedTuple

import torch as th

RIDGE = 1e-3
"""Weight of the penalty: enough to keep directions out in which latents hardly differ, and a thousandth of the rest."""


class LinearProbe(NamedTuple):
    """
    An affine map.

    :param weight: ``(D, O)``
    :param bias: ``(O,)``
    """

    weight: th.Tensor
    bias: th.Tensor

    def __call__(self, inputs: th.Tensor) -> th.Tensor:
        """``(…, D) -> (…, O)`` float64."""
        return inputs.double() @ self.weight + self.bias


def fit_probe(inputs: th.Tensor, targets: th.Tensor, ridge: float = RIDGE) -> LinearProbe:
    r"""
    Fit a probe by ridge regression (Hoerl and Kennard 1970), in closed form:

    .. math::
        \arg\min_{W, b} \frac{1}{M} \sum_m \lVert W^\top x_m + b - y_m \rVert^2 + \lambda \lVert S W \rVert^2

    S holds the inputs' standard deviations: the penalty does not depend on their units. The bias is free.

    :param inputs: ``(M, D)``
    :param targets: ``(M, O)``
    :param ridge: :math:`\lambda`, above 0
    :return: the probe
    :raises ValueError: when the penalty is not positive
    """
    check_ridge(ridge)
    x, y = inputs.double(), targets.double()
    mean, target_mean = x.mean(dim=0), y.mean(dim=0)
    scale = x.std(dim=0, correction=0)
    # An input that is the same everywhere says nothing; divided by 1 it is 0.
    scale = th.where(scale > 1e-12 * (1 + mean.abs()), scale, 1.0)
    z = (x - mean) / scale
    gram = z.t() @ z / len(z) + ridge * th.eye(z.shape[1], dtype=z.dtype)
    weight = th.linalg.solve(gram, z.t() @ (y - target_mean) / len(z)) / scale[:, None]
    return LinearProbe(weight, target_mean - mean @ weight)


def check_ridge(ridge: float) -> None:
    """Raise ValueError unless the weight of a penalty is positive."""
    if not 0 < ridge < float("inf"):
        raise ValueError(f"ridge={ridge!r}: wanted a positive weight, for example {RIDGE}.")
