"""
Aggregators: commutative monoids over the transitions of a trial.

An aggregator *lifts* an encoding to a state, *combines* states with an associative and commutative operation, and
*reads out* a vector. The identity of every one of them is the zero vector, so that a memory full of zeros is the empty
trial.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

import torch as th
from torch import nn
from torch.nn import functional as F
from typing_extensions import override

from sb3_hyper.checks import check_keywords
from sb3_hyper.errors import unknown_name

Accumulation = Literal["sum", "max", "softmax", "associative"]


class Aggregator(nn.Module, ABC):
    """
    A commutative monoid with a lift and a readout (Beck et al. 2024, SplAgger, section 4).

    ``parts`` splits the state's last axis into blocks and names the recurrence that accumulates each, for the fast
    scan: ``"sum"``, ``"max"`` (from 0), ``"softmax"`` (three equal blocks in log-space), or ``"associative"``:
    :meth:`combine` and nothing less.

    :param input_dim: width of an encoding
    """

    trusts_parts: ClassVar[bool] = False
    """
    Whether ``parts`` describes this class's :meth:`combine`. A class that brings a ``combine`` says so in its body;
    otherwise the scan uses ``combine`` and nothing else.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "trusts_parts" not in cls.__dict__:
            parent = next(base for base in cls.__mro__[1:] if issubclass(base, Aggregator))
            cls.trusts_parts = parent.trusts_parts and cls.combine is parent.combine

    def __init__(self, input_dim: int) -> None:
        super().__init__()
        if input_dim < 1:
            raise ValueError(f"{type(self).__name__} got input_dim={input_dim}, wanted at least 1.")
        self.input_dim = input_dim
        self.output_dim = input_dim
        self.parts: tuple[tuple[Accumulation, int], ...] = (("associative", input_dim),)

    @property
    def state_dim(self) -> int:
        """Width of the monoid's state."""
        return sum(width for _, width in self.parts)

    def identity(self, *batch_shape: int, device: th.device | str | None = None) -> th.Tensor:
        """The empty trial: zeros of shape ``(*batch_shape, state_dim)``."""
        return th.zeros(*batch_shape, self.state_dim, device=device)

    @abstractmethod
    def lift(self, encoding: th.Tensor) -> th.Tensor:
        """
        The state of a trial with one transition.

        :param encoding: ``(..., input_dim)``
        :return: ``(..., state_dim)``
        """

    @abstractmethod
    def combine(self, first: th.Tensor, second: th.Tensor) -> th.Tensor:
        """
        The state of the union of two sets of transitions.

        :param first: ``(..., state_dim)``
        :param second: ``(..., state_dim)``
        :return: ``(..., state_dim)``
        """

    @abstractmethod
    def readout(self, state: th.Tensor) -> th.Tensor:
        """
        What the agent sees of a state; finite for the empty trial too.

        :param state: ``(..., state_dim)``
        :return: ``(..., output_dim)``
        """

    def _halve_input(self) -> int:
        if self.input_dim % 2:
            raise ValueError(
                f"{type(self).__name__} reads two halves of an encoding, but got the odd width {self.input_dim}. "
                "Choose an even encoder width (twice as wide if the encoding is split too)."
            )
        return self.input_dim // 2


class Sum(Aggregator):
    """The sum of the encodings: state s, combine +, readout s."""

    trusts_parts = True

    def __init__(self, input_dim: int) -> None:
        super().__init__(input_dim)
        self.parts = (("sum", input_dim),)

    @override
    def lift(self, encoding: th.Tensor) -> th.Tensor:
        return encoding

    @override
    def combine(self, first: th.Tensor, second: th.Tensor) -> th.Tensor:
        return first + second

    @override
    def readout(self, state: th.Tensor) -> th.Tensor:
        return state


class Mean(Sum):
    """
    The mean of the encodings, as in conditional neural processes (Garnelo et al. 2018): state (s, n), readout s / n.
    """

    def __init__(self, input_dim: int) -> None:
        super().__init__(input_dim)
        self.parts = (("sum", input_dim + 1),)

    @override
    def lift(self, encoding: th.Tensor) -> th.Tensor:
        return th.cat((encoding, th.ones_like(encoding[..., :1])), dim=-1)

    @override
    def readout(self, state: th.Tensor) -> th.Tensor:
        return state[..., :-1] / state[..., -1:].clamp(min=1.0)


def _later_maximum(first: th.Tensor, second: th.Tensor) -> th.Tensor:
    # On a tie the gradient goes to the later argument, so that every order of combining has one gradient.
    return th.where(second >= first, second, first)


class Max(Aggregator):
    """
    The running maximum started at 0, as the papers ran it (Beck et al. 2020, 2024): state m >= 0, combine max, readout
    m.
    """

    trusts_parts = True

    def __init__(self, input_dim: int) -> None:
        super().__init__(input_dim)
        self.parts = (("max", input_dim),)

    @override
    def lift(self, encoding: th.Tensor) -> th.Tensor:
        return encoding.clamp(min=0.0)

    @override
    def combine(self, first: th.Tensor, second: th.Tensor) -> th.Tensor:
        return _later_maximum(first, second)

    @override
    def readout(self, state: th.Tensor) -> th.Tensor:
        return state


class MaxNorm(Max):
    """:class:`Max` scaled to the unit sphere: readout m / max(norm(m), 0.1), no gradient through the norm."""

    @override
    def readout(self, state: th.Tensor) -> th.Tensor:
        norm: th.Tensor = th.linalg.vector_norm(state.detach(), dim=-1, keepdim=True)
        return state / norm.clamp(min=0.1)


class UnboundedMax(Aggregator):
    """
    The maximum started at minus infinity: state (m, whether any transition came), readout m, or 0 for the empty trial.
    """

    trusts_parts = True

    def __init__(self, input_dim: int) -> None:
        super().__init__(input_dim)
        self.parts = (("associative", input_dim + 1),)

    @override
    def lift(self, encoding: th.Tensor) -> th.Tensor:
        return th.cat((encoding, th.ones_like(encoding[..., :1])), dim=-1)

    @override
    def combine(self, first: th.Tensor, second: th.Tensor) -> th.Tensor:
        maximum = _later_maximum(first, second)
        maximum = th.where(second[..., -1:] > 0, maximum, first)
        return th.where(first[..., -1:] > 0, maximum, second)

    @override
    def readout(self, state: th.Tensor) -> th.Tensor:
        return state[..., :-1]


class MeanMax(Aggregator):
    """The mean of one half of the encoding and the maximum of the other (Beck et al. 2024, ablations)."""

    trusts_parts = True

    def __init__(self, input_dim: int) -> None:
        super().__init__(input_dim)
        half = self._halve_input()
        self.mean, self.max = Mean(half), Max(half)
        self.parts = self.mean.parts + self.max.parts

    @override
    def lift(self, encoding: th.Tensor) -> th.Tensor:
        first, second = encoding.chunk(2, dim=-1)
        return th.cat((self.mean.lift(first), self.max.lift(second)), dim=-1)

    @override
    def combine(self, first: th.Tensor, second: th.Tensor) -> th.Tensor:
        width = self.mean.state_dim
        mean = self.mean.combine(first[..., :width], second[..., :width])
        return th.cat((mean, self.max.combine(first[..., width:], second[..., width:])), dim=-1)

    @override
    def readout(self, state: th.Tensor) -> th.Tensor:
        width = self.mean.state_dim
        return th.cat((self.mean.readout(state[..., :width]), self.max.readout(state[..., width:])), dim=-1)


# softplus underflows to 0 for very negative inputs, where a transition would turn into the empty trial.
_SMALLEST_WEIGHT = 1e-6


class WeightedMean(Sum):
    """
    The mean of one half of the encoding, weighted per feature by softplus of the other: state (sum w x, sum w), readout
    their ratio.

    The readout is half as wide as the encoding.
    """

    def __init__(self, input_dim: int) -> None:
        super().__init__(input_dim)
        self.output_dim = self._halve_input()

    @override
    def lift(self, encoding: th.Tensor) -> th.Tensor:
        value, logit = encoding.chunk(2, dim=-1)
        weight = F.softplus(logit) + _SMALLEST_WEIGHT
        return th.cat((weight * value, weight), dim=-1)

    @override
    def readout(self, state: th.Tensor) -> th.Tensor:
        weighted, weight = state.chunk(2, dim=-1)
        return weighted / th.where(weight > 0, weight, 1.0)


class Gaussian(Sum):
    """
    The product of Gaussian factors (Rakelly et al. 2019, PEARL): state (sum mu / s^2, sum 1 / s^2), readout mean and
    log-variance.

    One half of the encoding is mu, softplus of the other the precision 1 / s^2. The empty trial reads out the prior
    N(0, 1).
    """

    def __init__(self, input_dim: int) -> None:
        super().__init__(input_dim)
        self._halve_input()

    @override
    def lift(self, encoding: th.Tensor) -> th.Tensor:
        mean, raw_precision = encoding.chunk(2, dim=-1)
        precision = F.softplus(raw_precision) + _SMALLEST_WEIGHT
        return th.cat((precision * mean, precision), dim=-1)

    @override
    def readout(self, state: th.Tensor) -> th.Tensor:
        weighted, precision = state.chunk(2, dim=-1)
        precision = th.where(precision > 0, precision, 1.0)
        return th.cat((weighted / precision, -precision.log()), dim=-1)


class WeightedSoftmax(Aggregator):
    """
    The mean of one half of the encoding under a softmax over time of the other: sum x e^{l/t} / sum e^{l/t}, per
    feature.

    The state is kept in log-space, (m, sum e^{l/t - m}, sum x e^{l/t - m}) with m the largest l/t; t is learned (t >
    0). The readout is half as wide as the encoding.

    :param input_dim: width of an encoding
    :param temperature: where t starts; 0.1 in Beck et al. 2024
    """

    trusts_parts = True

    def __init__(self, input_dim: int, temperature: float = 0.1) -> None:
        super().__init__(input_dim)
        if not 0 < temperature < float("inf"):
            raise ValueError(f"{type(self).__name__} got temperature={temperature}, wanted a positive, finite number.")
        self.log_temperature = nn.Parameter(th.tensor(float(temperature)).log())
        self.output_dim = self._value_dim()
        self.parts = (("softmax", 3 * self.output_dim),)

    def _value_dim(self) -> int:
        return self._halve_input()

    def _value_and_logit(self, encoding: th.Tensor) -> tuple[th.Tensor, ...]:
        return encoding.chunk(2, dim=-1)

    @override
    def lift(self, encoding: th.Tensor) -> th.Tensor:
        value, logit = self._value_and_logit(encoding)
        return th.cat((logit / self.log_temperature.exp(), th.ones_like(value), value), dim=-1)

    @override
    def combine(self, first: th.Tensor, second: th.Tensor) -> th.Tensor:
        first_max, first_sum, first_weighted = first.chunk(3, dim=-1)
        second_max, second_sum, second_weighted = second.chunk(3, dim=-1)
        # A state that holds a transition has a sum of at least 1 (its largest term), the empty trial has 0.
        has_first, has_second = first_sum > 0, second_sum > 0
        largest = th.where(has_second, _later_maximum(first_max, second_max), first_max)
        largest = th.where(has_first, largest, second_max)
        first_scale = th.where(has_first, first_max - largest, 0.0).exp()
        second_scale = th.where(has_second, second_max - largest, 0.0).exp()
        total = first_sum * first_scale + second_sum * second_scale
        return th.cat((largest, total, first_weighted * first_scale + second_weighted * second_scale), dim=-1)

    @override
    def readout(self, state: th.Tensor) -> th.Tensor:
        _, total, weighted = state.chunk(3, dim=-1)
        return weighted / total.clamp(min=1.0)


class Softmax(WeightedSoftmax):
    """
    The soft maximum: the mean of the encodings under a softmax over time of themselves, sum x e^{x/t} / sum e^{x/t}, t
    learned.
    """

    def _value_dim(self) -> int:
        return self.input_dim

    def _value_and_logit(self, encoding: th.Tensor) -> tuple[th.Tensor, ...]:
        return encoding, encoding


AGGREGATORS: dict[str, type[Aggregator]] = {
    aggregator.__name__: aggregator
    for aggregator in (
        Sum, Mean, Max, MaxNorm, UnboundedMax, MeanMax, WeightedMean, Softmax, WeightedSoftmax, Gaussian,
    )
}  # fmt: skip
"""The aggregators by the name that ``policy_kwargs`` and the zoo's YAML use."""


def make_aggregator(aggregator: str | type[Aggregator], input_dim: int, **aggregator_kwargs: Any) -> Aggregator:
    """
    Build an aggregator from its name or class.

    :param aggregator: a name in ``AGGREGATORS``, or a subclass of :class:`Aggregator`
    :param input_dim: width of the encodings
    :param aggregator_kwargs: further keyword arguments of that aggregator, for example ``temperature``
    :return: the aggregator
    :raises ValueError: when the name is unknown, or the width does not suit it
    :raises TypeError: when it is neither, or does not take one of the keywords
    """
    if isinstance(aggregator, str) and aggregator not in AGGREGATORS:
        raise unknown_name("aggregator", aggregator, AGGREGATORS)
    make: Any = AGGREGATORS[aggregator] if isinstance(aggregator, str) else aggregator
    if not isinstance(make, type) or not issubclass(make, Aggregator):
        raise TypeError(
            f"aggregator={aggregator!r}: wanted a subclass of Aggregator, or a name ({', '.join(AGGREGATORS)})."
        )
    check_keywords("aggregator", make, aggregator_kwargs)
    made: Aggregator = make(input_dim, **aggregator_kwargs)
    return made
