"""Sequence encoders: from a trial's transitions to encodings, with a memory."""

from sb3_hyper.encoders.aggregated import AggregatedEncoder
from sb3_hyper.encoders.base import SequenceEncoder
from sb3_hyper.encoders.pointwise import PointwiseEncoder
from sb3_hyper.encoders.recurrent import GRUEncoder, LSTMEncoder
from sb3_hyper.errors import unknown_name

ENCODERS: dict[str, type[GRUEncoder] | type[LSTMEncoder] | type[PointwiseEncoder]] = {
    "gru": GRUEncoder,
    "lstm": LSTMEncoder,
    "pointwise": PointwiseEncoder,
}
"""The encoders by the name that ``policy_kwargs`` and the zoo's YAML use."""


def make_encoder(name: str, input_dim: int, output_dim: int) -> SequenceEncoder:
    """
    Build an encoder from its name.

    :param name: a name in ``ENCODERS``
    :param input_dim: width of a transition's features
    :param output_dim: width of an encoding
    :return: the encoder
    :raises ValueError: when the name is unknown
    """
    if name not in ENCODERS:
        raise unknown_name("encoder", name, ENCODERS)
    return ENCODERS[name](input_dim, output_dim)


__all__ = [
    "ENCODERS",
    "AggregatedEncoder",
    "GRUEncoder",
    "LSTMEncoder",
    "PointwiseEncoder",
    "SequenceEncoder",
    "make_encoder",
]
