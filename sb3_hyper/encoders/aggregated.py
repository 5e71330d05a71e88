"""SplAgger: an encoder whose output is split, one half kept in order, the other aggregated without order."""

from typing import Any

import torch as th
from typing_extensions import override

from sb3_hyper.aggregators import Aggregator, make_aggregator
from sb3_hyper.encoders.base import EncoderStep, SequenceEncoder
from sb3_hyper.scan import scan, straight_through


class AggregatedEncoder(SequenceEncoder):
    """
    The running readout of an aggregator over an encoder's output, beside the part of the output that is kept as it is.

    With ``split`` the output's first half is the skip half and its second half is aggregated (Beck et al. 2024,
    SplAgger, section 4); without it everything is aggregated. ``use_straight_through`` replaces the aggregated half's
    gradient by that of the running sum of the encodings (Beck et al. 2020, AMRL); that gradient ends at the first step
    of the batch of sequences.

    :param encoder: where the encodings come from
    :param aggregator: name or class of the aggregator
    :param split: whether half of the encoding bypasses the aggregator
    :param use_straight_through: whether the aggregator's gradient is replaced
    :param aggregator_kwargs: further keyword arguments of the aggregator
    :raises ValueError: when the encoder's width is odd and ``split`` is asked for, or does not suit the aggregator
    """

    def __init__(
        self,
        encoder: SequenceEncoder,
        aggregator: str | type[Aggregator] = "Max",
        split: bool = True,
        use_straight_through: bool = False,
        **aggregator_kwargs: Any,
    ) -> None:
        width = encoder.output_dim
        if split and width % 2:
            raise ValueError(
                f"Cannot split an encoding of odd width {width} into halves. Use an even encoder_dim, or split=False."
            )
        aggregated_width = width // 2 if split else width
        monoid = make_aggregator(aggregator, aggregated_width, **aggregator_kwargs)
        if use_straight_through and monoid.output_dim != aggregated_width:
            raise ValueError(
                "straight_through needs an aggregator whose readout is as wide as the encoding, "
                f"but {type(monoid).__name__} turns {aggregated_width} into {monoid.output_dim}. "
                "Use Max, Mean, Sum, MeanMax or Softmax, or straight_through=False."
            )
        skip_width = width - aggregated_width
        super().__init__(encoder.input_dim, skip_width + monoid.output_dim, encoder.state_dim + monoid.state_dim)
        self.encoder = encoder
        self.aggregator = monoid
        self.use_straight_through = use_straight_through
        self._widths = [skip_width, aggregated_width]

    @override
    def forward(self, x: th.Tensor, state: th.Tensor, resets: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
        encoder_state, monoid_state = th.split(state, [self.encoder.state_dim, self.aggregator.state_dim], dim=-1)
        encodings, encoder_state = self.encoder(x, encoder_state, resets)
        skip, aggregated = th.split(encodings, self._widths, dim=-1)
        states = scan(self.aggregator, self.aggregator.lift(aggregated), monoid_state, resets)
        readout = self.aggregator.readout(states)
        if self.use_straight_through:
            readout = straight_through(readout, _running_sum_of_encodings(aggregated, resets))
        return th.cat((skip, readout), dim=-1), th.cat((encoder_state, states[-1]), dim=-1)

    @override
    def make_step(self) -> EncoderStep:
        encode, aggregator = self.encoder.make_step(), self.aggregator
        state_widths = [self.encoder.state_dim, aggregator.state_dim]

        def step(x: th.Tensor, state: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
            encoder_state, monoid_state = th.split(state, state_widths, dim=-1)
            encoding, encoder_state = encode(x, encoder_state)
            skip, aggregated = th.split(encoding, self._widths, dim=-1)
            monoid_state = aggregator.combine(monoid_state, aggregator.lift(aggregated))
            readout = aggregator.readout(monoid_state)
            return th.cat((skip, readout), dim=-1), th.cat((encoder_state, monoid_state), dim=-1)

        return step


def _running_sum_of_encodings(encodings: th.Tensor, resets: th.Tensor) -> th.Tensor:
    total = make_aggregator("Sum", encodings.shape[-1])
    return scan(total, encodings, th.zeros_like(encodings[0]), resets)
