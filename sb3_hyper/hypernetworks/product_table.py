"""The products of a generated layer with inputs that come again, as states in grids, mazes and tables do."""

import torch as th

from sb3_hyper.hypernetworks.distinct_rows import row_keys


class ProductTable:
    """
    x W + b for small batches without gradient, on a CPU: computed when an input is seen first, then looked up.

    When there have been more inputs than it has room for, as with continuous states, it computes every product again.

    :param weight: ``(I, P)``
    :param bias: ``(P,)``
    :param capacity: how many inputs it has room for
    """

    def __init__(self, weight: th.Tensor, bias: th.Tensor, capacity: int) -> None:
        self._weight, self._bias, self._capacity = weight, bias, capacity
        # Inputs and products stand in their keys' order, behind a first row that belongs to none.
        self._keys = weight.new_empty(0)
        self._inputs = weight.new_full((1, len(weight)), th.nan)
        self._products = bias.new_full((1, len(bias)), th.nan)

    def __call__(self, x: th.Tensor) -> th.Tensor:
        """``(N, I) -> (N, P)``."""
        if len(self._keys) <= self._capacity:
            keys = row_keys(x)
            places = th.searchsorted(self._keys, keys, right=True)
            if th.equal(self._inputs[places], x):
                return self._products[places]
            self._learn(keys, x, (self._inputs[places] != x).any(dim=1))
        return th.addmm(self._bias, x, self._weight)

    def _learn(self, keys: th.Tensor, x: th.Tensor, is_unknown: th.Tensor) -> None:
        """Enter the unknown ones among inputs, each once."""
        new_keys, indices = th.unique(keys[is_unknown], return_inverse=True)
        rows = is_unknown.nonzero().flatten()
        inputs = x[rows.new_empty(len(new_keys)).scatter_(0, indices, rows)]
        self._keys, order = th.cat((self._keys, new_keys)).sort()
        behind_the_first = th.cat((order.new_zeros(1), order + 1))
        self._inputs = th.cat((self._inputs, inputs))[behind_the_first]
        products = th.addmm(self._bias, inputs, self._weight)
        self._products = th.cat((self._products, products))[behind_the_first]
