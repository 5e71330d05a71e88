"""What a sequence encoder is."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch as th
from torch import nn

from sb3_hyper.checks import check_counts

EncoderStep = Callable[[th.Tensor, th.Tensor], tuple[th.Tensor, th.Tensor]]
"""From features ``(B, input_dim)`` and memory ``(B, state_dim)`` to encodings ``(B, output_dim)`` and memory."""


class SequenceEncoder(nn.Module, ABC):
    """
    A causal map from a trial's transitions to encodings, with a memory.

    The memory is one flat vector for each sequence, and the zero vector is the memory of a trial without transitions.

    :param input_dim: width of a transition's features
    :param output_dim: width of an encoding
    :param state_dim: width of the memory
    :raises ValueError: when ``input_dim`` or ``output_dim`` is no whole number, 1 or above
    """

    def __init__(self, input_dim: int, output_dim: int, state_dim: int) -> None:
        super().__init__()
        check_counts(input_dim=input_dim, output_dim=output_dim)
        self.input_dim = input_dim
        self.output_dim = output_dim
        self.state_dim = state_dim

    def initial_state(self, n_sequences: int, device: th.device | str | None = None) -> th.Tensor:
        """The memory of ``n_sequences`` empty trials, ``(n_sequences, state_dim)`` zeros."""
        return th.zeros(n_sequences, self.state_dim, device=device)

    @abstractmethod
    def forward(self, x: th.Tensor, state: th.Tensor, resets: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
        """
        Encode sequences; nothing crosses a trial's start.

        :param x: ``(T, B, input_dim)`` features of the transitions
        :param state: ``(B, state_dim)`` memory before the first step
        :param resets: ``(T, B)`` bool, whether a trial starts at this step
        :return: encodings ``(T, B, output_dim)`` and the memory after the last step ``(B, state_dim)``
        :raises ValueError: when there is no step, T = 0; an encoder without memory need not
        """

    def make_step(self) -> EncoderStep:
        """
        Prepare :meth:`forward` for acting: one step of B sequences, without gradient, in which no trial starts.

        What comes back may hold copies of the weights: it is good until they change.
        """

        def step(x: th.Tensor, state: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
            encodings, state = self(x[None], state, th.zeros(1, len(x), dtype=th.bool, device=x.device))
            return encodings[0], state

        return step


def check_steps(x: th.Tensor) -> None:
    """Raise ValueError unless sequences ``(T, B, D)`` have a step."""
    # ``numel`` alone is cheaper than ``len``.
    if x.numel() == 0 and len(x) == 0:
        raise ValueError(f"Sequences of shape {tuple(x.shape)}, wanted at least one step: (T, B, D) with T >= 1.")
