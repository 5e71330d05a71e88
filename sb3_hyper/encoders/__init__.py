"""Sequence encoders: from a trial's transitions to encodings, with a memory."""

import inspect
from typing import Any

from sb3_hyper.encoders.aggregated import AggregatedEncoder
from sb3_hyper.encoders.base import EncoderStep, SequenceEncoder
from sb3_hyper.encoders.linear_recurrent import LRUEncoder
from sb3_hyper.encoders.min_gru import MinGRUEncoder
from sb3_hyper.encoders.pointwise import PointwiseEncoder
from sb3_hyper.encoders.recurrent import GRUEncoder, LSTMEncoder, LSTMInvInitEncoder
from sb3_hyper.encoders.stacked import StackedEncoder
from sb3_hyper.encoders.transformer import TransformerEncoder
from sb3_hyper.errors import did_you_mean, unknown_name

ENCODERS: dict[str, type[SequenceEncoder]] = {
    "gru": GRUEncoder,
    "lstm": LSTMEncoder,
    "lstm_invinit": LSTMInvInitEncoder,
    "lru": LRUEncoder,
    "min_gru": MinGRUEncoder,
    "pointwise": PointwiseEncoder,
    "transformer": TransformerEncoder,
}
"""The encoders by the name that ``policy_kwargs`` and the zoo's YAML use."""


def make_encoder(
    encoder: str | type[SequenceEncoder],
    input_dim: int,
    output_dim: int,
    n_layers: int | None = None,
    **encoder_kwargs: Any,
) -> SequenceEncoder:
    """
    Build an encoder from its name or class.

    :param encoder: a name in ``ENCODERS``, or a subclass of :class:`SequenceEncoder` that is built from ``(input_dim,
        output_dim)`` and keywords of its own
    :param input_dim: width of a transition's features
    :param output_dim: width of an encoding
    :param n_layers: number of layers. An encoder that takes ``n_layers`` itself gets it; any other is stacked, all
        layers of width ``output_dim``. None: as the encoder has it, which is one for those that are stacked
    :param encoder_kwargs: further keyword arguments of that encoder, of every layer alike
    :return: the encoder
    :raises ValueError: when the name is unknown, or ``n_layers`` is below one
    :raises TypeError: when it is neither a name nor such a class, or does not take one of the keywords
    """
    if isinstance(encoder, str) and encoder not in ENCODERS:
        raise unknown_name("encoder", encoder, ENCODERS)
    make: Any = ENCODERS[encoder] if isinstance(encoder, str) else encoder
    if not isinstance(make, type) or not issubclass(make, SequenceEncoder):
        raise TypeError(
            f"encoder={encoder!r}: wanted a name ({', '.join(ENCODERS)}) or a subclass of SequenceEncoder, which is "
            "built from (input_dim, output_dim)."
        )
    parameters = list(inspect.signature(make).parameters.values())[2:]
    accepted = [parameter.name for parameter in parameters]
    if all(parameter.kind is not inspect.Parameter.VAR_KEYWORD for parameter in parameters):
        _check_keywords(encoder, encoder_kwargs, accepted)
    if n_layers is not None and n_layers < 1:
        raise ValueError(f"The encoder {encoder!r} got n_layers={n_layers}, wanted at least 1.")
    if n_layers is not None and "n_layers" in accepted:
        encoder_kwargs["n_layers"], n_layers = n_layers, None
    input_dims = [input_dim] + [output_dim] * ((n_layers or 1) - 1)
    layers: list[SequenceEncoder] = [make(width, output_dim, **encoder_kwargs) for width in input_dims]
    return layers[0] if len(layers) == 1 else StackedEncoder(layers)


def _check_keywords(encoder: object, encoder_kwargs: dict[str, Any], accepted: list[str]) -> None:
    choices = sorted({*accepted, "n_layers"})
    for keyword in encoder_kwargs:
        if keyword not in accepted:
            raise TypeError(
                f"The encoder {encoder!r} got the keyword {keyword!r} in encoder_kwargs; it takes {', '.join(choices)}."
                f"{did_you_mean(keyword, choices)}"
            )


__all__ = [
    "ENCODERS",
    "AggregatedEncoder",
    "EncoderStep",
    "GRUEncoder",
    "LRUEncoder",
    "LSTMEncoder",
    "LSTMInvInitEncoder",
    "MinGRUEncoder",
    "PointwiseEncoder",
    "SequenceEncoder",
    "StackedEncoder",
    "TransformerEncoder",
    "make_encoder",
]
