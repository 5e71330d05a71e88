"""HyperPPO: proximal policy optimisation on whole sequences."""

from sb3_hyper.hyper_ppo.hyper_ppo import HyperPPO

__all__ = ["HyperPPO"]
