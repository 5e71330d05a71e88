"""minGRU: a gated recurrent unit whose gates do not look at its hidden state, and which is therefore a scan."""

import math

import torch as th
from torch import nn
from typing_extensions import override

from sb3_hyper.encoders.base import SequenceEncoder, check_steps
from sb3_hyper.encoders.initial_state import InitialState
from sb3_hyper.recurrences import linear_recurrence


class MinGRUEncoder(SequenceEncoder):
    """
    The minimal gated recurrent unit (Feng et al. 2024, "Were RNNs All We Needed?", section 3.1)::

        z_t = sigmoid(W_z x_t + b_z)
        h_t = (1 - z_t) h_{t-1} + z_t (W_h x_t + b_h)

    This is the paper's plain form. Its log-space form, in which candidates have to be positive, keeps a scan of
    logarithms stable; here every step is a weighted mean as it is.

    The memory is the hidden state. What the papers leave at the default, b_z, starts such that the unit's memories 1 /
    z are spread evenly in logarithm between 2 and ``max_timescale`` steps; around zero every unit would forget within
    a handful of steps, and no gradient would tell it of a longer past.

    :param input_dim: width of a transition's features
    :param output_dim: number of hidden units, which is the width of an encoding
    :param max_timescale: the longest memory that a unit starts with, in steps; from 2 to 1e6, beyond which single
        precision cannot tell what a step keeps from everything
    :param learned_initial_state: whether the hidden state that a trial starts from is learned; else it is zero
    :raises ValueError: unless 2 <= max_timescale <= 1e6
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int = 256,
        max_timescale: float = 400.0,
        learned_initial_state: bool = False,
    ) -> None:
        super().__init__(input_dim, output_dim, state_dim=output_dim)
        if not 2 <= max_timescale <= 1e6:
            raise ValueError(
                f"MinGRUEncoder got max_timescale={max_timescale}, wanted at least 2 and at most 1e6 steps "
                "(beyond that single precision cannot tell what a step keeps from everything): the longest trial's "
                "length will do."
            )
        self.linear = nn.Linear(input_dim, 2 * output_dim)
        self.initial = InitialState(output_dim, learned_initial_state)
        self.state_dim = self.initial.memory_dim
        with th.no_grad():
            # z = 1 / (1 + e^-b)
            timescale = th.empty(output_dim).uniform_(math.log(2), math.log(max_timescale)).exp()
            self.linear.bias[:output_dim] = -(timescale - 1).log()

    @override
    def forward(self, x: th.Tensor, state: th.Tensor, resets: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
        check_steps(x)
        gate, candidate = self.linear(x).chunk(2, dim=-1)
        update = gate.sigmoid()
        decay = 1 - update
        drive = self.initial.restart(update * candidate, decay, resets)
        hidden = linear_recurrence(drive, self.initial.to_hidden(state), resets, decay)
        return hidden, self.initial.to_memory(hidden[-1])
