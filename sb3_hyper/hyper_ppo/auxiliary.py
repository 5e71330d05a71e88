"""How HyperPPO trains an auxiliary objective."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch as th
from typing_extensions import override

from sb3_hyper.hyper_ppo.rollout_buffer import SequenceMinibatch, SequenceRolloutBuffer
from sb3_hyper.policies import Evaluation, HyperActorCriticPolicy
from sb3_hyper.policies.features import episode_begins
from sb3_hyper.task_inference import AuxiliaryObjective, LatentSequences, MinibatchObjective


class AuxiliaryTraining(ABC):
    """
    What HyperPPO calls at the stations of its training.

    :param objective: the objective
    """

    saved: ClassVar[tuple[str, ...]] = ("objective",)
    """What of it is saved with the model: names of modules, optimizers and buffers."""
    objective: AuxiliaryObjective

    def __init__(self, objective: AuxiliaryObjective) -> None:
        self.objective = objective
        self._metrics: list[Mapping[str, th.Tensor]] = []

    @abstractmethod
    def begin(self, n_updates: int) -> None:
        """
        Prepare for training, or refuse it.

        :param n_updates: rollouts that are to come, with PPO's update on each
        """

    @abstractmethod
    def miss_steps(self) -> None:
        """Know that the environments have gone on since the last rollout, and nobody saw where to."""

    @abstractmethod
    def add_to(self, loss: th.Tensor, evaluation: Evaluation, minibatch: SequenceMinibatch) -> th.Tensor:
        """
        Add the objective to PPO's.

        :param loss: PPO's loss of a minibatch
        :param evaluation: what the policy says of the minibatch
        :param minibatch: what was seen and done
        :return: the sum
        """

    @abstractmethod
    def collect(self, rollout: SequenceRolloutBuffer, rewards: th.Tensor, ended: th.Tensor) -> None:
        """
        Look at a rollout before PPO's update.

        :param rollout: the rollout
        :param rewards: ``(T, n_envs)`` as the environments gave them
        :param ended: ``(n_envs,)`` bool, whether the last step ended a trial
        """

    @abstractmethod
    def train(self, progress_remaining: float) -> bool:
        """
        Take further steps after PPO's update.

        :param progress_remaining: from 1 at the beginning of training to 0 at its end
        :return: whether the memories of open trials mean nothing any more
        """

    def log(self) -> dict[str, float]:
        """Means of what was measured since the last call; the numbers come to the host here."""
        measured, self._metrics = [metrics for metrics in self._metrics if metrics], []
        if not measured:
            return {}
        table = th.stack([th.stack(tuple(metrics.values())) for metrics in measured]).nanmean(dim=0).cpu()
        named = zip(measured[0], table.tolist(), strict=True)
        return {key: value for key, value in named if not math.isnan(value)}


class MinibatchTraining(AuxiliaryTraining):
    """
    The training of an objective on PPO's minibatches; PPO's optimizer steps for its parameters too.

    :param objective: the objective
    :param policy: the policy, whose optimizer gets the objective's parameters
    """

    objective: MinibatchObjective

    def __init__(self, objective: MinibatchObjective, policy: HyperActorCriticPolicy) -> None:
        super().__init__(objective)
        parameters = list(objective.parameters())
        if parameters:
            policy.optimizer.add_param_group({"params": parameters})

    @override
    def begin(self, n_updates: int) -> None:
        """Nothing: it may begin at any time."""

    @override
    def miss_steps(self) -> None:
        """Nothing: it looks at no trial beyond its rollout."""

    @override
    def add_to(self, loss: th.Tensor, evaluation: Evaluation, minibatch: SequenceMinibatch) -> th.Tensor:
        shape, latents = minibatch.resets.shape, evaluation.latents
        obs = minibatch.observations if isinstance(minibatch.observations, Mapping) else {}
        auxiliary = self.objective.loss(
            LatentSequences(
                latents=latents.view(*shape, -1),
                resets=minibatch.resets,
                new_episode=episode_begins(obs, shape) if "new_episode" in obs else th.zeros_like(minibatch.resets),
                task=obs["task"].view(*shape, -1) if self.objective.needs_task else latents.new_empty(*shape, 0),
            )
        )
        self._metrics.append(auxiliary.metrics)
        return loss + auxiliary.loss

    @override
    def collect(self, rollout: SequenceRolloutBuffer, rewards: th.Tensor, ended: th.Tensor) -> None:
        """Nothing: minibatches are all it needs."""

    @override
    def train(self, progress_remaining: float) -> bool:
        """Nothing: PPO's steps were its own."""
        return False
