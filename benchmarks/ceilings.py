"""What limits a computation: the operations and bytes that it takes, counted, and how fast a machine does either."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch as th
from measuring import synchronize
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

_PRODUCT_WIDTHS = {"cpu": 2048, "cuda": 8192}
"""Of square matrices whose product takes long enough to be timed, and runs at the machine's full rate."""

_COPIED_NUMBERS = 1 << 26
"""256 MiB, which no cache holds."""


class Work(NamedTuple):
    """
    What a computation takes.

    :param products: floating-point operations of matrix products, two for each multiplication with its addition
    :param elementwise: numbers that all other floating-point operations give, or reduce; a tanh is one operation
    :param bytes: what all operations read and write, each as if nothing were in a cache: at most what memory moves
    """

    products: float
    elementwise: float
    bytes: float


class Ceilings(NamedTuple):
    """
    What a machine can do at best, with the threads that PyTorch uses.

    :param flop_per_second: of a large matrix product in float32
    :param bytes_per_second: read and written by a copy that is much larger than the caches
    """

    flop_per_second: float
    bytes_per_second: float

    def seconds(self, work: Work) -> float:
        """The roofline (Williams et al. 2009): all operations at the full rate, all bytes meanwhile."""
        operations = work.products + work.elementwise
        return max(operations / self.flop_per_second, work.bytes / self.bytes_per_second)


def _timed(function: Callable[[], object], device: str) -> float:
    synchronize(device)
    start = time.perf_counter()
    function()
    synchronize(device)
    return time.perf_counter() - start


def product_rate(device: str) -> Callable[[], float]:
    """Prepare a large matrix product; each call does it once and returns its operations per second."""
    width = _PRODUCT_WIDTHS[th.device(device).type]
    left, right, product = th.randn(3, width, width, device=device)
    return lambda: 2 * width**3 / _timed(lambda: th.mm(left, right, out=product), device)


def copy_rate(device: str) -> Callable[[], float]:
    """Prepare a large copy; each call does it once and returns the bytes per second that it reads and writes."""
    source, target = th.ones(2, _COPIED_NUMBERS, device=device)
    return lambda: 2 * source.nbytes / _timed(lambda: target.copy_(source), device)


aten = th.ops.aten

_SAME_PRODUCTS = {
    aten.addmm_: aten.addmm,
    aten.baddbmm_: aten.baddbmm,
    aten._scaled_dot_product_flash_attention_for_cpu: aten._scaled_dot_product_flash_attention,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: aten._scaled_dot_product_flash_attention_backward,
}
"""Operations that PyTorch's FlopCounterMode does not know, and what they cost as much as."""


def _matrix_vector(matrix: Sequence[int], *_: object, **__: object) -> int:
    return 2 * math.prod(matrix)


def _recurrent(x: Sequence[int], weights: Sequence[Sequence[int]], *_: object, **__: object) -> int:
    """Every row of the input, ``(…, input_dim)``, meets every weight matrix once."""
    return sum(2 * math.prod(x[:-1]) * math.prod(weight) for weight in weights if len(weight) == 2)


def _recurrent_backward(x: Sequence[int], weights: Sequence[Sequence[int]], *_: object, **__: object) -> int:
    return 2 * _recurrent(x, weights)


_FORMULAS = {
    aten.mv: _matrix_vector,
    aten._cudnn_rnn: _recurrent,
    aten._cudnn_rnn_backward: _recurrent_backward,
}
"""Operations, beside :data:`_SAME_PRODUCTS`, that FlopCounterMode would take for free, from their arguments' shapes."""

_MOVES = {
    "_to_copy",
    "block_diag",
    "cat",
    "clone",
    "complex",
    "constant_pad_nd",
    "copy_",
    "flip",
    "gather",
    "index",
    "index_put_",
    "index_select",
    "masked_fill",
    "masked_fill_",
    "repeat",
    "roll",
    "select_backward",
    "slice_backward",
    "stack",
    "where",
}
"""Operations that carry numbers from one tensor to another, without arithmetic."""

_OVERWRITING = {"bernoulli_", "copy_", "exponential_", "fill_", "normal_", "random_", "uniform_", "zero_"}
"""Operations that change a tensor without reading it."""

_GATHERING = {"embedding", "gather", "index", "index_select"}
"""Operations that read no more of their first argument than they give."""


class _Call:
    """
    One operation that was done.

    :param func: the operation, an ``OpOverload``
    :param args: its arguments
    :param kwargs: those that were given by name
    :param out: what it returned
    """

    def __init__(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], out: object) -> None:
        arguments = func._schema.arguments
        self.name = func._schema.name.partition("::")[2]
        self.given = {**{argument.name: value for argument, value in zip(arguments, args, strict=False)}, **kwargs}
        self.out = out
        changed = {a.name for a in arguments if a.name in self.given and a.alias_info and a.alias_info.is_write}
        self.is_view = not changed and _storages(out) <= _storages(self.given)
        self.written = [self.given[name] for name in changed] if changed else out
        # Something new takes no more than its shape from another tensor, and what is overwritten is not looked at.
        is_new = self.name.startswith("new_") or self.name.endswith("_like")
        unread = {a.name for a in arguments if a.is_out} | (changed if self.name in _OVERWRITING else set())
        self.read = [] if is_new else [value for name, value in self.given.items() if name not in unread]

    def elementwise(self) -> int:
        """Numbers that are computed, or reduced to fewer."""
        if self.is_view or self.name in _MOVES or not _n_floats(self.read) or not _n_floats(self.written):
            return 0
        return max(_n_floats(value) for value in (self.out, *self.given.values()))

    def traffic(self) -> int:
        """Bytes that are read and written."""
        if self.is_view or "empty" in self.name:
            return 0
        read, written = [_bytes(value) for value in self.read], _bytes(self.written)
        if self.name in _GATHERING:
            read[0] = min(read[0], written)
        return sum(read) + written


def _tensors(values: object) -> list[th.Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, th.Tensor)]


def _storages(values: object) -> set[int]:
    return {tensor.untyped_storage()._cdata for tensor in _tensors(values)}


def _bytes(values: object) -> int:
    """Of the different numbers in all tensors: an expanded axis is there once."""
    return sum(
        tensor.element_size() * math.prod(n for n, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride)
        for tensor in _tensors(values)
    )


def _n_floats(values: object) -> int:
    return sum(tensor.numel() for tensor in _tensors(values) if tensor.is_floating_point() or tensor.is_complex())


class WorkCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """
    Counts the work of everything that PyTorch computes while it is active, gradients and custom functions included.

    Matrix products are counted as by PyTorch's FlopCounterMode, and by formulas for what it leaves out: products in
    place, for example, of which the recurrences are made. Views take nothing. Code outside PyTorch, such as
    environments in numpy, is not seen.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.work = Work(0, 0, 0)
        known = FlopCounterMode(display=False, custom_mapping=_FORMULAS).flop_registry
        self._formulas: dict[Any, Callable[..., int]] = {
            **known,
            **{operation: known[same] for operation, same in _SAME_PRODUCTS.items()},
        }

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        call, formula = _Call(func, args, kwargs, out), self._formulas.get(func.overloadpacket)
        self.work = Work(
            products=self.work.products + (formula(*args, **kwargs, out_val=out) if formula else 0),
            elementwise=self.work.elementwise + (0 if formula else call.elementwise()),
            bytes=self.work.bytes + call.traffic(),
        )
        return out
