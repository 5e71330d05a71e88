"""Sequence encoders: from a trial's transitions to encodings, with a memory."""

import inspect
from collections.abc import Collection
from typing import Any

from sb3_hyper.checks import check_counts
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
    /,
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
    :raises ValueError: when the name is unknown, or ``n_layers`` is no whole number, 1 or above
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
    accepted = _keywords(make)
    parameters = inspect.signature(make).parameters.values()
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    _check_keywords(encoder, encoder_kwargs, accepted, takes_any)
    if n_layers is not None:
        check_counts(n_layers=n_layers)
        if "n_layers" in accepted:
            encoder_kwargs["n_layers"], n_layers = n_layers, None
    input_dims = [input_dim] + [output_dim] * ((n_layers or 1) - 1)
    layers: list[SequenceEncoder] = [make(width, output_dim, **encoder_kwargs) for width in input_dims]
    return layers[0] if len(layers) == 1 else StackedEncoder(layers)


def _keywords(make: type) -> set[str]:
    """The keywords that a class names beside its widths, and those of its parents as far as ``**kwargs`` leads."""
    names: set[str] = set()
    for owner in make.__mro__:
        if "__init__" not in vars(owner):
            continue
        parameters = list(inspect.signature(vars(owner)["__init__"]).parameters.values())
        positional = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        # Behind self and the two widths.
        names.update(positional[3:], (p.name for p in parameters if p.kind is p.KEYWORD_ONLY))
        if all(p.kind is not p.VAR_KEYWORD for p in parameters):
            break
    return names


_SET_ELSEWHERE = {
    "encoder": "it is a setting beside them, for example encoder='gru'",
    "input_dim": "the policy knows the width of a transition's features",
    "output_dim": "the width of an encoding is encoder_dim",
}


def _check_keywords(
    encoder: object, encoder_kwargs: dict[str, Any], accepted: Collection[str], takes_any: bool
) -> None:
    choices = sorted({*accepted, "n_layers"})
    for keyword in encoder_kwargs:
        if keyword in accepted:
            continue
        if keyword in _SET_ELSEWHERE:
            raise TypeError(
                f"The encoder {encoder!r} got the keyword {keyword!r} in encoder_kwargs, where it does not belong: "
                f"{_SET_ELSEWHERE[keyword]}."
            )
        if not takes_any:
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
