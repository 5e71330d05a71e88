"""Recurrent encoders: GRU and LSTM, run over whole sequences that are cut at trial starts."""

import math

import torch as th
from torch import nn
from torch.nn.utils.rnn import PackedSequence
from typing_extensions import override

from sb3_hyper.encoders.base import EncoderStep, SequenceEncoder, check_steps
from sb3_hyper.encoders.gru_scan import gru_scan, make_gru_step
from sb3_hyper.encoders.initial_state import InitialState
from sb3_hyper.encoders.lstm_scan import lstm_scan
from sb3_hyper.pieces import Pieces, cut_at_resets


class GRUEncoder(SequenceEncoder):
    """
    A gated recurrent unit (``nn.GRU``'s equations); the memory is its hidden state.

    :param input_dim: width of a transition's features
    :param output_dim: number of hidden units, which is the width of an encoding
    :param learned_initial_state: whether the hidden state that a trial starts from is learned; else it is zero
    """

    def __init__(self, input_dim: int, output_dim: int = 256, learned_initial_state: bool = False) -> None:
        super().__init__(input_dim, output_dim, state_dim=output_dim)
        self.rnn = nn.GRU(input_dim, output_dim)
        self.initial = InitialState(output_dim, learned_initial_state)
        self.state_dim = self.initial.memory_dim

    @override
    def forward(self, x: th.Tensor, state: th.Tensor, resets: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
        check_steps(x)
        if len(x) == 1:
            hidden = self.initial.to_hidden(th.where(resets[0, :, None], 0.0, state))
            hidden = th.gru_cell(x[0], hidden, *self.rnn.parameters())
            return hidden[None], self.initial.to_memory(hidden)
        pieces = cut_at_resets(resets)
        hidden = self.initial.to_hidden(pieces.initial_state(state))
        run = _gru_by_scan if x.device.type == "cpu" else _gru_by_kernel
        encodings = run(self.rnn, pieces, x, hidden)
        return encodings, self.initial.to_memory(encodings[-1])

    @override
    def make_step(self) -> EncoderStep:
        input_weight, weight, input_bias, bias = (parameter.detach() for parameter in self.rnn.parameters())
        if weight.device.type != "cpu":
            return super().make_step()
        step_gru = make_gru_step(input_weight, weight, input_bias, bias)

        def step(x: th.Tensor, state: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
            hidden = step_gru(x, self.initial.to_hidden(state))
            return hidden, self.initial.to_memory(hidden)

        return step


class LSTMEncoder(SequenceEncoder):
    """
    Long short-term memory (``nn.LSTM``'s equations); the memory is hidden and cell state, side by side.

    :param input_dim: width of a transition's features
    :param output_dim: number of hidden units, which is the width of an encoding
    :param learned_initial_state: whether the states that a trial starts from are learned; else they are zero
    """

    def __init__(self, input_dim: int, output_dim: int = 256, learned_initial_state: bool = False) -> None:
        super().__init__(input_dim, output_dim, state_dim=2 * output_dim)
        self.rnn = nn.LSTM(input_dim, output_dim)
        self.initial = InitialState(2 * output_dim, learned_initial_state)
        self.state_dim = self.initial.memory_dim

    @override
    def forward(self, x: th.Tensor, state: th.Tensor, resets: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
        check_steps(x)
        if len(x) == 1:
            hidden, cell = self.initial.to_hidden(th.where(resets[0, :, None], 0.0, state)).chunk(2, dim=-1)
            hidden, cell = th.lstm_cell(x[0], (hidden, cell), *self.rnn.parameters())
            return hidden[None], self.initial.to_memory(th.cat((hidden, cell), dim=-1))
        pieces = cut_at_resets(resets)
        hidden, cell = self.initial.to_hidden(pieces.initial_state(state)).chunk(2, dim=-1)
        run = _lstm_by_scan if x.device.type == "cpu" else _lstm_by_kernel
        encodings, cell = run(self.rnn, pieces, x, hidden, cell)
        return encodings, self.initial.to_memory(th.cat((encodings[-1], cell), dim=-1))


class LSTMInvInitEncoder(LSTMEncoder):
    """
    An LSTM whose gates start as those of an integrator of inputs alone: LSTM-InvInit (Beck et al. 2024, section 5).

    Forget and input gate start at sigmoid(2 log((1 - eps) / eps)), which is 1 - 1e-8, whatever comes in: their weights
    are zero, and both bias vectors hold log((1 - eps) / eps), eps = 1e-4. Candidate and output gate do not see the
    hidden state. So the cell starts as the running sum of tanh(W x + b) over the trial.
    """

    def __init__(self, input_dim: int, output_dim: int = 256, learned_initial_state: bool = False) -> None:
        super().__init__(input_dim, output_dim, learned_initial_state)
        input_weight, weight, *biases = self.rnn.parameters()
        input_and_forget = slice(0, 2 * output_dim)
        nn.init.zeros_(input_weight[input_and_forget])
        nn.init.zeros_(weight)
        for bias in biases:
            nn.init.constant_(bias[input_and_forget], math.log((1 - 1e-4) / 1e-4))


def _gru_by_scan(rnn: nn.GRU, pieces: Pieces, x: th.Tensor, hidden: th.Tensor) -> th.Tensor:
    """Hidden states of all steps; faster than the kernel on a CPU."""
    input_weight, weight, input_bias, bias = rnn.parameters()
    gates = nn.functional.linear(pieces.pack(x), input_weight, input_bias)
    return pieces.unpack(gru_scan(gates, hidden, weight, bias, pieces.batch_sizes))


def _gru_by_kernel(rnn: nn.GRU, pieces: Pieces, x: th.Tensor, hidden: th.Tensor) -> th.Tensor:
    """What :func:`_gru_by_scan` computes, as one call of ``nn.GRU``."""
    return pieces.unpack(rnn(_packed_sequence(pieces, x), hidden[None])[0].data)


def _lstm_by_scan(
    rnn: nn.LSTM, pieces: Pieces, x: th.Tensor, hidden: th.Tensor, cell: th.Tensor
) -> tuple[th.Tensor, th.Tensor]:
    """Hidden states of all steps and cell states after the last; several times faster than the kernel on a CPU."""
    input_weight, weight, input_bias, bias = rnn.parameters()
    gates = nn.functional.linear(pieces.pack(x), input_weight, input_bias + bias)
    packed, cells = lstm_scan(gates, hidden, cell, weight, pieces.batch_sizes)
    return pieces.unpack(packed), pieces.unpack(cells)[-1]


def _lstm_by_kernel(
    rnn: nn.LSTM, pieces: Pieces, x: th.Tensor, hidden: th.Tensor, cell: th.Tensor
) -> tuple[th.Tensor, th.Tensor]:
    """What :func:`_lstm_by_scan` computes, as one call of ``nn.LSTM``."""
    packed, (_, last) = rnn(_packed_sequence(pieces, x), (hidden[None].contiguous(), cell[None].contiguous()))
    return pieces.unpack(packed.data), pieces.last_state(last[0])


def _packed_sequence(pieces: Pieces, x: th.Tensor) -> PackedSequence:
    return PackedSequence(pieces.pack(x), th.tensor(pieces.batch_sizes))
