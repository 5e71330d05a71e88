"""The hidden state that a trial starts from."""

import torch as th
from torch import nn


class InitialState(nn.Module):
    """
    The hidden state of an empty trial: zero, or a parameter that starts at zero and is learned.

    A memory of zeros has to mean the empty trial either way, so a memory is the hidden state's difference to this one.

    :param width: number of real entries of the hidden state
    :param learned: whether it is a parameter
    """

    value: nn.Parameter | None

    def __init__(self, width: int, learned: bool) -> None:
        super().__init__()
        self.register_parameter("value", nn.Parameter(th.zeros(width)) if learned else None)

    def to_hidden(self, memory: th.Tensor) -> th.Tensor:
        """The hidden state ``(..., width)`` that a memory stands for."""
        return memory if self.value is None else memory + self.value

    def to_memory(self, hidden: th.Tensor) -> th.Tensor:
        """The memory ``(..., width)`` that stands for a hidden state."""
        return hidden if self.value is None else hidden - self.value

    def to_memory_input(self, x: th.Tensor, decay: th.Tensor) -> th.Tensor:
        """
        The input of a linear recurrence, written for the memory: if the hidden state follows h' = a h + x, the memory
        m = h - h0 follows m' = a m + x + (a - 1) h0, and starts every trial from 0.

        :param x: ``(T, B, S)`` the hidden state's input; S is half the width where it is complex
        :param decay: ``(T, B, S)`` or ``(S,)``
        :return: ``(T, B, S)``
        """
        if self.value is None:
            return x
        value = th.view_as_complex(self.value.view(-1, 2)) if x.is_complex() else self.value
        return x + (decay - 1) * value
