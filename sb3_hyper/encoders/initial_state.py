"""The hidden state that a trial starts from."""

import torch as th
from torch import nn


class InitialState(nn.Module):
    """
    The hidden state of an empty trial: zero, or a parameter that starts at zero and is learned.

    A memory of zeros has to mean the empty trial either way. Where the state is zero, a memory is the hidden state;
    where it is learned, a memory is the hidden state and one number more, which is 1 once a trial has begun. So a
    hidden state that is carried on, over a rollout's end or an update, is the number that it was, and gradient reaches
    the parameter from trials whose start is among the steps alone.

    :param width: number of real entries of the hidden state
    :param learned: whether it is a parameter
    """

    value: nn.Parameter | None

    def __init__(self, width: int, learned: bool) -> None:
        super().__init__()
        self.register_parameter("value", nn.Parameter(th.zeros(width)) if learned else None)
        self.memory_dim = width + 1 if learned else width

    def to_hidden(self, memory: th.Tensor) -> th.Tensor:
        """The hidden state ``(..., width)`` that a memory ``(..., memory_dim)`` stands for."""
        if self.value is None:
            return memory
        return th.where(memory[..., -1:] == 0, self.value, memory[..., :-1])

    def to_memory(self, hidden: th.Tensor) -> th.Tensor:
        """The memory ``(..., memory_dim)`` that stands for a hidden state ``(..., width)`` after a transition."""
        return hidden if self.value is None else th.cat((hidden, th.ones_like(hidden[..., :1])), dim=-1)

    def restart(self, x: th.Tensor, decay: th.Tensor, resets: th.Tensor) -> th.Tensor:
        """
        The input of a linear recurrence h' = a h + x that starts trials from 0, such that they start from h0: x + a h0
        at their first steps.

        :param x: ``(T, B, S)`` the input; S is half the width where it is complex
        :param decay: ``(T, B, S)`` or ``(S,)``
        :param resets: ``(T, B)`` bool, whether a trial starts at this step
        :return: ``(T, B, S)``
        """
        if self.value is None:
            return x
        value = th.view_as_complex(self.value.view(-1, 2)) if x.is_complex() else self.value
        return x + th.where(resets[..., None], decay, 0.0) * value
