"""Scans: the running state of an aggregator over a batch of sequences with trial starts inside."""

from collections.abc import Callable
from typing import Any

import torch as th

from sb3_hyper.aggregators import Accumulation, Aggregator
from sb3_hyper.recurrences import running_max, running_softmax, running_sum


def scan_reference(aggregator: Aggregator, lifted: th.Tensor, state: th.Tensor, resets: th.Tensor) -> th.Tensor:
    """
    The definition of :func:`scan`: s_t = combine(0 where a trial starts, else s_{t-1}; x_t), one step after the other.

    :param aggregator: the monoid
    :param lifted: ``(T, B, state_dim)`` lifted encodings
    :param state: ``(B, state_dim)`` the state before the first step
    :param resets: ``(T, B)`` bool, whether a trial starts at this step
    :return: ``(T, B, state_dim)`` the state after every step
    """
    states = []
    for x, reset in zip(lifted, resets, strict=True):
        state = aggregator.combine(th.where(reset[:, None], 0.0, state), x)
        states.append(state)
    return th.stack(states)


def scan(aggregator: Aggregator, lifted: th.Tensor, state: th.Tensor, resets: th.Tensor) -> th.Tensor:
    """
    What :func:`scan_reference` computes, value and gradient, faster.

    On a CPU each of the aggregator's ``parts`` runs as one recurrence with its own gradient; elsewhere, and for
    ``"associative"`` parts, as a work-efficient scan of logarithmic depth in which resets travel with the states and
    the host is never asked.

    :param aggregator: the monoid
    :param lifted: ``(T, B, state_dim)`` lifted encodings
    :param state: ``(B, state_dim)`` the state before the first step
    :param resets: ``(T, B)`` bool, whether a trial starts at this step
    :return: ``(T, B, state_dim)`` the state after every step
    """
    if len(lifted) == 1:
        return scan_reference(aggregator, lifted, state, resets)
    operations = [operation for operation, _ in aggregator.parts]
    if lifted.device.type != "cpu" or "associative" in operations or not aggregator.trusts_parts:
        return _scan_with_flags(aggregator, lifted, state, resets)
    widths = [width for _, width in aggregator.parts]
    parts = zip(operations, th.split(lifted, widths, dim=-1), th.split(state, widths, dim=-1), strict=True)
    states = [_RECURRENCES[operation](x, initial, resets) for operation, x, initial in parts]
    return states[0] if len(states) == 1 else th.cat(states, dim=-1)


_RECURRENCES: dict[Accumulation, Callable[[th.Tensor, th.Tensor, th.Tensor], th.Tensor]] = {
    "sum": running_sum,
    "max": running_max,
    "softmax": running_softmax,
}


def _scan_with_flags(aggregator: Aggregator, lifted: th.Tensor, state: th.Tensor, resets: th.Tensor) -> th.Tensor:
    # The carried state is combined into the first step; after that a flag says that nothing before it counts.
    first = aggregator.combine(th.where(resets[0, :, None], 0.0, state), lifted[0])
    return _associative_scan(aggregator, th.cat((first[None], lifted[1:])), resets[..., None])[0]


def _associative_scan(aggregator: Aggregator, states: th.Tensor, flags: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
    """
    Prefixes of ``(T, B, S)`` in about 2 T combines and 2 log2 T steps: combine pairs, scan the pairs, fill the even
    places.
    """
    length = len(states)
    if length == 1:
        return states, flags

    def combine(before: tuple[th.Tensor, th.Tensor], after: tuple[th.Tensor, th.Tensor]) -> tuple[th.Tensor, th.Tensor]:
        combined = th.where(after[1], after[0], aggregator.combine(before[0], after[0]))
        return combined, before[1] | after[1]

    odd = _associative_scan(
        aggregator, *combine((states[: length - 1 : 2], flags[: length - 1 : 2]), (states[1::2], flags[1::2]))
    )
    n_inner = (length - 1) // 2
    even = combine((odd[0][:n_inner], odd[1][:n_inner]), (states[2::2], flags[2::2]))
    return _interleave(states[:1], even[0], odd[0]), _interleave(flags[:1], even[1], odd[1])


def _interleave(first: th.Tensor, even: th.Tensor, odd: th.Tensor) -> th.Tensor:
    """Places 0; 2, 4, …; 1, 3, … to 0, 1, 2, …."""
    result = first.new_empty((1 + len(even) + len(odd), *first.shape[1:]))
    result[::2] = th.cat((first, even))
    result[1::2] = odd
    return result


class _StraightThrough(th.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: th.Tensor, surrogate: th.Tensor) -> th.Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: th.Tensor) -> tuple[None, th.Tensor]:
        return None, grad_outputs[0]


def straight_through(value: th.Tensor, surrogate: th.Tensor) -> th.Tensor:
    """
    The value of one tensor with the gradient of another (Beck et al. 2020, AMRL).

    AMRL's aggregators take the value of a monoid and the gradient of the running sum of the encodings.
    Exact at any length, where ``s + (v - s).detach()`` would lose the digits of v once s is large.

    :param value: ``(..., D)`` what comes out
    :param surrogate: ``(..., D)`` what the gradient flows to
    :return: ``(..., D)``
    :raises ValueError: when the shapes differ
    """
    if value.shape != surrogate.shape:
        raise ValueError(
            f"Straight-through wants a value and a surrogate of one shape, got {tuple(value.shape)} and "
            f"{tuple(surrogate.shape)}. Use an aggregator whose readout is as wide as the encoding, such as Max."
        )
    result: th.Tensor = _StraightThrough.apply(value, surrogate)  # type: ignore[no-untyped-call]
    return result
