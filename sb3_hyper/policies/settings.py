"""What shapes an agent: the keyword arguments of a policy, gathered and checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from sb3_hyper.aggregators import Aggregator
from sb3_hyper.checks import check_counts, check_widths
from sb3_hyper.encoders import SequenceEncoder
from sb3_hyper.errors import unknown_name
from sb3_hyper.hypernetworks import LayerKind
from sb3_hyper.policies.features import ENCODER_INPUTS, EncoderInput
from sb3_hyper.policies.generation import GENERATIONS, Generation
from sb3_hyper.policies.latent import LatentKind
from sb3_hyper.policies.sizes import BaseSizes, base_sizes

Conditioning = Literal["hypernetwork", "film", "latent", "state_and_latent"]

LAYER_OF_CONDITIONING: dict[Conditioning, LayerKind] = {
    "hypernetwork": "generated",
    "film": "film",
    "latent": "plain",
    "state_and_latent": "plain",
}
"""How the latent reaches the base networks: through their weights, their activations' scales, or their input."""

DEFAULT_INITIALIZER = "BiasHyperInit"

Sharing = Literal["nothing", "trunk", "hidden_layers"]

SHARINGS: tuple[Sharing, ...] = get_args(Sharing)
"""What actor and critic have in common behind the latent: nothing, the trunk, or trunk and hidden layers."""


@dataclass(frozen=True)
class AgentSettings:
    """
    The keyword arguments of :class:`~sb3_hyper.policies.HyperActorCriticPolicy` that shape its agent; described there.

    :raises ValueError: when one of the names or widths that nobody else checks is wrong, or two settings exclude each
        other
    """

    size: str
    net_arch: Sequence[int] | Mapping[str, Sequence[int]] | None
    state_dim: int | None
    encoder: str | type[SequenceEncoder]
    encoder_kwargs: Mapping[str, Any]
    encoder_dim: int
    encoder_input: EncoderInput
    aggregator: str | type[Aggregator] | None
    aggregator_kwargs: Mapping[str, Any]
    split: bool
    straight_through: bool
    latent: LatentKind
    latent_dim: int
    normalize_latent: bool
    detach_latent: bool
    trunk_dims: Sequence[int]
    conditioning: Conditioning
    conditioned_layers: Sequence[int] | None
    sharing: Sharing
    generation: Generation
    initializer: str
    base_initializer: str
    state_embedding_dim: int
    action_embedding_dim: int
    reward_embedding_dim: int
    normalize_states: bool

    def __post_init__(self) -> None:
        for kind, name, choices in (
            ("conditioning", self.conditioning, LAYER_OF_CONDITIONING),
            ("sharing", self.sharing, SHARINGS),
            ("generation", self.generation, GENERATIONS),
            ("encoder_input", self.encoder_input, ENCODER_INPUTS),
        ):
            if name not in choices:
                raise unknown_name(kind, name, choices)
        for keywords in ("encoder_kwargs", "aggregator_kwargs"):
            object.__setattr__(self, keywords, _keyword_arguments(keywords, getattr(self, keywords)))
        for switch in ("split", "straight_through", "normalize_latent", "detach_latent", "normalize_states"):
            if not isinstance(getattr(self, switch), bool):
                raise ValueError(f"{switch}={getattr(self, switch)!r}: wanted True or False.")
        embedding_dims = ("state_embedding_dim", "action_embedding_dim", "reward_embedding_dim")
        check_counts(**{width: getattr(self, width) for width in ("encoder_dim", *embedding_dims)})
        if self.state_dim:
            check_counts(state_dim=self.state_dim)
        # Tuples, whatever sequence came in: two policies with the same settings have equal ones.
        object.__setattr__(self, "trunk_dims", tuple(check_widths("trunk_dims", self.trunk_dims)))
        if self.conditioned_layers is not None:
            object.__setattr__(self, "conditioned_layers", _layer_indices(self.conditioned_layers))
        if self.straight_through and self.aggregator is None:
            raise ValueError(
                "straight_through=True replaces an aggregator's gradient, but there is no aggregator. Name one, for "
                "example aggregator='Max', or use straight_through=False."
            )
        if self.aggregator_kwargs and self.aggregator is None:
            raise ValueError(
                f"aggregator_kwargs={self.aggregator_kwargs} are an aggregator's keywords, but there is no aggregator. "
                "Name one, for example aggregator='Softmax', or leave them out."
            )
        is_input = LAYER_OF_CONDITIONING[self.conditioning] == "plain"
        if is_input and self.conditioned_layers is not None:
            raise ValueError(
                f"conditioned_layers={list(self.conditioned_layers)} chooses layers that the latent conditions, but "
                f"with conditioning={self.conditioning!r} it is an input. Use conditioning='hypernetwork' or 'film' or "
                "conditioned_layers=None."
            )
        if is_input and self.initializer != DEFAULT_INITIALIZER:
            raise ValueError(
                f"initializer={self.initializer!r} says how layers that the latent conditions start, but with "
                f"conditioning={self.conditioning!r} it is an input. Use conditioning='hypernetwork' or 'film', or "
                "leave initializer out; base_initializer initialises the base networks."
            )
        if self.sharing == "hidden_layers" and self.base_sizes.pi != self.base_sizes.vf:
            raise ValueError(
                f"sharing='hidden_layers' gives actor and critic the same hidden layers, but net_arch gives them "
                f"pi={list(self.base_sizes.pi)} and vf={list(self.base_sizes.vf)}. Use one list, or sharing='trunk'."
            )

    def as_kwargs(self) -> dict[str, Any]:
        """The keyword arguments again."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def base_sizes(self) -> BaseSizes:
        """Sizes of the base networks; those that see the latent alone need no embedding of the state."""
        return base_sizes(self.size, self.net_arch, 0 if self.conditioning == "latent" else self.state_dim)


def _keyword_arguments(name: str, keywords: object) -> dict[str, Any]:
    if not isinstance(keywords, Mapping):
        raise ValueError(f"{name}={keywords!r}: wanted a mapping of keyword arguments, for example dict(n_layers=2).")
    return dict(keywords)


def _layer_indices(layers: object) -> tuple[int, ...]:
    if not isinstance(layers, Sequence) or not all(type(index) is int for index in layers):
        raise ValueError(f"conditioned_layers={layers!r}: wanted a list of layers' numbers, for example [-1], or None.")
    return tuple(layers)
