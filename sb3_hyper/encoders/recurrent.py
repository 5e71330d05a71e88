"""Recurrent encoders: GRU and LSTM, run over whole sequences that are cut at trial starts."""

import torch as th
from torch import nn
from torch.nn.utils.rnn import PackedSequence
from typing_extensions import override

from sb3_hyper.encoders.base import EncoderStep, SequenceEncoder
from sb3_hyper.encoders.gru_scan import gru_scan, make_gru_step
from sb3_hyper.pieces import Pieces, cut_at_resets


class GRUEncoder(SequenceEncoder):
    """
    A gated recurrent unit (``nn.GRU``'s equations); the memory is its hidden state.

    :param input_dim: width of a transition's features
    :param output_dim: number of hidden units, which is the width of an encoding
    """

    def __init__(self, input_dim: int, output_dim: int = 256) -> None:
        super().__init__(input_dim, output_dim, state_dim=output_dim)
        self.rnn = nn.GRU(input_dim, output_dim)

    @override
    def forward(self, x: th.Tensor, state: th.Tensor, resets: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
        if len(x) == 1:
            state = th.gru_cell(x[0], th.where(resets[0, :, None], 0.0, state), *self.rnn.parameters())
            return state[None], state
        pieces = cut_at_resets(resets)
        initial = pieces.initial_state(state)
        if x.device.type == "cpu":
            input_weight, weight, input_bias, bias = self.rnn.parameters()
            gates = nn.functional.linear(pieces.pack(x), input_weight, input_bias)
            packed = gru_scan(gates, initial, weight, bias, pieces.batch_sizes)
        else:
            packed = self.rnn(_packed_sequence(pieces, x), initial[None])[0].data
        encodings = pieces.unpack(packed)
        return encodings, encodings[-1]

    @override
    def make_step(self) -> EncoderStep:
        input_weight, weight, input_bias, bias = (parameter.detach() for parameter in self.rnn.parameters())
        if weight.device.type != "cpu":
            return super().make_step()
        step_gru = make_gru_step(input_weight, weight, input_bias, bias)

        def step(x: th.Tensor, state: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
            state = step_gru(x, state)
            return state, state

        return step


class LSTMEncoder(SequenceEncoder):
    """
    Long short-term memory (``nn.LSTM``'s equations); the memory is hidden and cell state, side by side.

    :param input_dim: width of a transition's features
    :param output_dim: number of hidden units, which is the width of an encoding
    """

    def __init__(self, input_dim: int, output_dim: int = 256) -> None:
        super().__init__(input_dim, output_dim, state_dim=2 * output_dim)
        self.rnn = nn.LSTM(input_dim, output_dim)

    @override
    def forward(self, x: th.Tensor, state: th.Tensor, resets: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
        pieces = cut_at_resets(resets)
        hidden, cell = pieces.initial_state(state).chunk(2, dim=-1)
        packed, last = self.rnn(_packed_sequence(pieces, x), (hidden[None].contiguous(), cell[None].contiguous()))
        # (1, P, H) twice -> (P, 2 H)
        return pieces.unpack(packed.data), pieces.last_state(th.cat(last, dim=-1)[0])


def _packed_sequence(pieces: Pieces, x: th.Tensor) -> PackedSequence:
    return PackedSequence(pieces.pack(x), th.tensor(pieces.batch_sizes))
