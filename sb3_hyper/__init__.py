"""
Meta-reinforcement learning for Stable-Baselines3: recurrent hypernetworks, SplAgger and their task distributions.

Importing the package registers the environments; what needs torch is imported when it is first asked for.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from sb3_hyper.envs import make_trial, make_trials, register_environments

if TYPE_CHECKING:
    from sb3_hyper.hyper_ppo import HyperPPO
    from sb3_hyper.memory_estimate import estimate_memory
    from sb3_hyper.policies import (
        AMRLNoRNNPolicy,
        AMRLPolicy,
        BIPlusPlusHNPolicy,
        CNPPolicy,
        HyperActorCriticPolicy,
        LRUPolicy,
        LSTMHNPolicy,
        LSTMInvInitPolicy,
        MaxPolicy,
        MaxSTPolicy,
        MinGRUPolicy,
        MultiFiLMPolicy,
        MultiHNPolicy,
        MultiPolicy,
        PEARLPolicy,
        PEARLVIPolicy,
        RNNFiLMPolicy,
        RNNHNPolicy,
        RNNPolicy,
        RNNSPolicy,
        SoftmaxPolicy,
        SplAggerLRUPolicy,
        SplAggerMeanMaxPolicy,
        SplAggerMeanPolicy,
        SplAggerMinGRUPolicy,
        SplAggerNoRNNPolicy,
        SplAggerNoSplitPolicy,
        SplAggerPolicy,
        SplAggerSoftmaxPolicy,
        SplAggerWeightedMeanPolicy,
        SplAggerWeightedSoftmaxPolicy,
        SumPolicy,
        TIHNPolicy,
        TINaiveFiLMPolicy,
        TINaiveHNPolicy,
        TINaivePolicy,
        TIPlusPlusFiLMPolicy,
        TIPlusPlusHNPolicy,
        TIPlusPlusPolicy,
        TIPolicy,
        TransformerPolicy,
        VIFiLMPolicy,
        VIHNPolicy,
        VIPolicy,
        WeightedMeanPolicy,
    )

try:
    __version__ = version("sb3-hyper")
except PackageNotFoundError:
    __version__ = "0+unknown"

__all__ = [
    "AMRLNoRNNPolicy",
    "AMRLPolicy",
    "BIPlusPlusHNPolicy",
    "CNPPolicy",
    "HyperActorCriticPolicy",
    "HyperPPO",
    "LRUPolicy",
    "LSTMHNPolicy",
    "LSTMInvInitPolicy",
    "MaxPolicy",
    "MaxSTPolicy",
    "MinGRUPolicy",
    "MultiFiLMPolicy",
    "MultiHNPolicy",
    "MultiPolicy",
    "PEARLPolicy",
    "PEARLVIPolicy",
    "RNNFiLMPolicy",
    "RNNHNPolicy",
    "RNNPolicy",
    "RNNSPolicy",
    "SoftmaxPolicy",
    "SplAggerLRUPolicy",
    "SplAggerMeanMaxPolicy",
    "SplAggerMeanPolicy",
    "SplAggerMinGRUPolicy",
    "SplAggerNoRNNPolicy",
    "SplAggerNoSplitPolicy",
    "SplAggerPolicy",
    "SplAggerSoftmaxPolicy",
    "SplAggerWeightedMeanPolicy",
    "SplAggerWeightedSoftmaxPolicy",
    "SumPolicy",
    "TIHNPolicy",
    "TINaiveFiLMPolicy",
    "TINaiveHNPolicy",
    "TINaivePolicy",
    "TIPlusPlusFiLMPolicy",
    "TIPlusPlusHNPolicy",
    "TIPlusPlusPolicy",
    "TIPolicy",
    "TransformerPolicy",
    "VIFiLMPolicy",
    "VIHNPolicy",
    "VIPolicy",
    "WeightedMeanPolicy",
    "estimate_memory",
    "make_trial",
    "make_trials",
    "register_environments",
]

register_environments()


def __getattr__(name: str) -> Any:
    """Import what needs torch only when it is asked for."""
    if name == "HyperPPO":
        return import_module("sb3_hyper.hyper_ppo").HyperPPO
    if name == "estimate_memory":
        return import_module("sb3_hyper.memory_estimate").estimate_memory
    if name in __all__:
        return getattr(import_module("sb3_hyper.policies"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
