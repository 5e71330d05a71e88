"""Hypernetworks: from a latent to the parameters of the base network."""

from sb3_hyper.hypernetworks.base_network import BaseNetwork, LayerKind
from sb3_hyper.hypernetworks.film import FiLMLinear
from sb3_hyper.hypernetworks.hypernetwork import GeneratedLinear, Trunk
from sb3_hyper.hypernetworks.initializers import (
    HYPER_INITIALIZERS,
    BiasHyperInit,
    BothHyperInit,
    HyperFanIn,
    HyperInitializer,
    Kaiming,
    Normc,
    Orthogonal,
    WeightHyperInit,
    make_initializer,
)

__all__ = [
    "HYPER_INITIALIZERS",
    "BaseNetwork",
    "BiasHyperInit",
    "BothHyperInit",
    "FiLMLinear",
    "GeneratedLinear",
    "HyperFanIn",
    "HyperInitializer",
    "Kaiming",
    "LayerKind",
    "Normc",
    "Orthogonal",
    "Trunk",
    "WeightHyperInit",
    "make_initializer",
]
