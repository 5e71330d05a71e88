"""A callback that logs how strongly the losses pull at the latent while an agent trains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common.callbacks import BaseCallback
from torch import nn
from torch.utils.hooks import RemovableHandle
from typing_extensions import override

from sb3_hyper.analysis.result import AnalysisResult, Array, Steps


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


class LatentGradientCallback(BaseCallback):
    """
    Logs ``train/latent_gradient_norm`` (Beck et al. 2023, section 5).

    The norm is that of dL/dz, L the loss of a minibatch (policy, value and entropy together, a mean over its N steps)
    and z its latents ``(N, latent_dim)``, all entries together and before the gradient is clipped; the mean over an
    update's minibatches is logged. z is what enters the trunk. It works with every HyperActorCriticPolicy in HyperPPO
    and RecurrentPPO; hooks do the work, and go when the training ends.

    :param verbose: as in SB3
    """

    key = "train/latent_gradient_norm"

    def __init__(self, verbose: int = 0) -> None:
        super().__init__(verbose)
        self._trunk: nn.Module | None = None
        self._handle: RemovableHandle | None = None
        self._norms_of_update: list[th.Tensor] = []
        self._history: list[tuple[int, float]] = []

    def result(self, name: str | None = None) -> LatentGradientNorms:
        """
        What was logged so far, over all trainings with this callback.

        :param name: what to call the agent; None: its policy's class
        :return: the norms
        """
        timesteps, norms = zip(*self._history, strict=True) if self._history else ((), ())
        name = name or (type(self.model.policy).__name__ if self._trunk is not None else "untrained")
        return LatentGradientNorms(name, np.array(timesteps, dtype=np.int64), np.array(norms, dtype=np.float64))

    @override
    def _init_callback(self) -> None:
        trunk = getattr(getattr(self.model.policy, "agent", None), "trunk", None)
        if not isinstance(trunk, nn.Module):
            raise TypeError(
                f"LatentGradientCallback got a model with the policy {type(self.model.policy).__name__}, which has no "
                "latent; wanted a HyperActorCriticPolicy such as RNNHNPolicy."
            )
        self._trunk = trunk

    @override
    def _on_training_start(self) -> None:
        self._remove_hook()
        assert self._trunk is not None
        self._handle = self._trunk.register_forward_pre_hook(self._watch)

    @override
    def _on_rollout_start(self) -> None:
        self._record()

    @override
    def _on_step(self) -> bool:
        return True

    @override
    def _on_training_end(self) -> None:
        self._record()
        self._remove_hook()

    def _watch(self, trunk: nn.Module, inputs: tuple[Any, ...]) -> None:
        # Acting asks for no gradients.
        if inputs[0].requires_grad:
            inputs[0].register_hook(self._keep)

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

    def _remove_hook(self) -> None:
        if self._handle is not None:
            self._handle.remove()
            self._handle = None
