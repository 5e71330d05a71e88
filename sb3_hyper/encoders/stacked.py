"""Encoders on top of each other."""

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch as th
from torch import nn
from typing_extensions import override

from sb3_hyper.encoders.base import EncoderStep, SequenceEncoder


class StackedEncoder(SequenceEncoder):
    """
    Encoders on top of each other: each reads the encodings of the one before. Their memories lie side by side.

    :param encoders: the encoders, the first reads the transitions
    :raises ValueError: when there is none, or one's ``input_dim`` is not the ``output_dim`` of the one before
    """

    def __init__(self, encoders: Sequence[SequenceEncoder]) -> None:
        if not encoders:
            raise ValueError("StackedEncoder got no encoders, wanted at least one.")
        for number, (below, above) in enumerate(pairwise(encoders), start=1):
            if above.input_dim != below.output_dim:
                raise ValueError(
                    f"StackedEncoder: layer {number + 1} ({type(above).__name__}) has input_dim={above.input_dim}, but "
                    f"layer {number} ({type(below).__name__}) puts out {below.output_dim}. Make them equal."
                )
        state_widths = [encoder.state_dim for encoder in encoders]
        super().__init__(encoders[0].input_dim, encoders[-1].output_dim, sum(state_widths))
        self.encoders = nn.ModuleList(encoders)
        self._state_widths = state_widths

    @override
    def forward(self, x: th.Tensor, state: th.Tensor, resets: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
        memories = []
        for encoder, below in zip(self.encoders, th.split(state, self._state_widths, dim=-1), strict=True):
            x, memory = encoder(x, below, resets)
            memories.append(memory)
        return x, th.cat(memories, dim=-1)

    @override
    def make_step(self) -> EncoderStep:
        steps = [cast(SequenceEncoder, encoder).make_step() for encoder in self.encoders]

        def step(x: th.Tensor, state: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
            memories = []
            for encode, below in zip(steps, th.split(state, self._state_widths, dim=-1), strict=True):
                x, memory = encode(x, below)
                memories.append(memory)
            return x, th.cat(memories, dim=-1)

        return step
