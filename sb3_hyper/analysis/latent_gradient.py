"""A callback that logs how strongly the losses pull at the latent while an agent trains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import BasePolicy
from torch import nn
from torch.utils.hooks import RemovableHandle
from typing_extensions import override

from sb3_hyper.analysis.result import AnalysisResult, Array, Steps
from sb3_hyper.policies import HyperActorCriticPolicy
from sb3_hyper.policies.agent import Agent


@dataclass(frozen=True, eq=False)
class LatentGradientNorms(AnalysisResult):
    """
    The latent's gradient norm, update by update.

    :param name: the agent
    :param timesteps: ``(n_updates,)`` environment steps before the update
    :param norms: ``(n_updates,)`` see :class:`LatentGradientCallback`
    """

    name: str
    timesteps: Steps
    norms: Array

    @override
    def table(self) -> str:
        parts = [part for part in np.array_split(self.norms, 10) if len(part)]
        lines = [f"{self.name}, {len(self.norms)} updates: means of each tenth of the training"]
        return "\n".join([*lines, "".join(f"{part.mean():>10.3g}" for part in parts)])


def check_latent_learns(policy: BasePolicy) -> None:
    """
    Check that PPO's losses have a gradient for the latent.

    :param policy: the policy that is to be trained
    :raises TypeError: when it has no latent
    :raises ValueError: when its latent is detached
    """
    if not isinstance(policy, HyperActorCriticPolicy):
        raise TypeError(
            f"LatentGradientCallback got a model with the policy {type(policy).__name__}, which has no latent; wanted "
            "a HyperActorCriticPolicy such as RNNHNPolicy."
        )
    if policy.settings.detach_latent:
        raise ValueError(
            f"{type(policy).__name__} has detach_latent=True: the losses of actor and critic stop at its latent, so "
            "they have no gradient there that could be logged. Watch a policy that is trained end to end, RNNHNPolicy "
            "for example, or pass policy_kwargs=dict(detach_latent=False), which lets them reach the encoder too."
        )


class LatentGradientCallback(BaseCallback):
    """
    Logs ``train/latent_gradient_norm`` (Beck et al. 2023, section 5).

    The norm is that of dL/dz, L PPO's loss of a minibatch (policy, value and entropy together, a mean over its N steps)
    and z its latents ``(N, latent_dim)``, all entries together and before the gradient is clipped; the mean over an
    update's minibatches is logged. z is what enters the trunk; what an auxiliary objective adds to its gradient is left
    out. It works in HyperPPO and RecurrentPPO, with every HyperActorCriticPolicy whose latent is not detached; hooks do
    the work, and go when the training ends.

    :param verbose: as in SB3
    """

    key = "train/latent_gradient_norm"

    def __init__(self, verbose: int = 0) -> None:
        super().__init__(verbose)
        self._agent_name = "untrained"
        self._handles: list[RemovableHandle] = []
        self._awaited: list[nn.Module] = []
        self._latent: th.Tensor | None = None
        self._norms_of_update: list[th.Tensor] = []
        self._history: list[tuple[int, float]] = []

    def result(self, name: str | None = None) -> LatentGradientNorms:
        """
        What was logged so far, over all trainings with this callback.

        :param name: what to call the agent; None: its policy's class
        :return: the norms
        """
        timesteps, norms = zip(*self._history, strict=True) if self._history else ((), ())
        name = name or self._agent_name
        return LatentGradientNorms(name, np.array(timesteps, dtype=np.int64), np.array(norms, dtype=np.float64))

    @override
    def _on_training_start(self) -> None:
        self._remove_hooks()
        policy = self.model.policy
        check_latent_learns(policy)
        agent: Agent = policy.agent  # type: ignore[assignment]
        self._agent_name = type(policy).__name__
        trunks = [trunk for trunk in (agent.trunk, agent.critic_trunk) if trunk is not None]

        def begin(encoder: nn.Module, inputs: tuple[Any, ...]) -> None:
            self._awaited, self._latent = list(trunks), None

        self._handles = [agent.encoder.register_forward_pre_hook(begin)]
        self._handles += [trunk.register_forward_pre_hook(self._watch) for trunk in trunks]

    @override
    def _on_rollout_start(self) -> None:
        self._record()

    @override
    def _on_step(self) -> bool:
        return True

    @override
    def _on_training_end(self) -> None:
        self._record()
        self._remove_hooks()

    def _watch(self, trunk: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Put between latent and trunk what collects the gradient that comes through the trunk alone."""
        # A trunk is called once after the encoder. An objective that calls it again asks something of its own.
        if trunk not in self._awaited:
            return None
        self._awaited.remove(trunk)
        # Acting asks for no gradients.
        if not inputs[0].requires_grad:
            return None
        if self._latent is None:
            # The latents themselves may be an objective's too.
            self._latent = inputs[0].view_as(inputs[0])
            self._latent.register_hook(self._keep)
        return (self._latent,)

    def _keep(self, gradient: th.Tensor) -> None:
        self._norms_of_update.append(th.linalg.vector_norm(gradient.detach()))

    def _record(self) -> None:
        """Log the update that has just ended; its norms come to the host here, at once."""
        if not self._norms_of_update:
            return
        norm = th.stack(self._norms_of_update).mean().item()
        self._norms_of_update.clear()
        self.logger.record(self.key, norm)
        self._history.append((self.num_timesteps, norm))

    def _remove_hooks(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles, self._awaited, self._latent = [], [], None
