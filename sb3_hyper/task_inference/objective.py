"""What an auxiliary objective is: a loss beside PPO's, by which an encoder learns what the task is."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import torch as th
from gymnasium import spaces
from torch import nn

from sb3_hyper.checks import check_counts, check_learning_rate
from sb3_hyper.hypernetworks import BaseNetwork, Trunk


class AgentSpaces(NamedTuple):
    """
    What an objective is built for.

    :param latent_dim: width of the latent
    :param belief_dim: width of the Gaussian that it can be read as; 0 where it can not
    :param state_space: space of the states
    :param state_dim: width of a state's features
    :param action_space: space of the actions
    :param task_space: space of the tasks; None where nobody needs it
    :param generators: actor's and critic's trunk and base network
    """

    latent_dim: int
    belief_dim: int
    state_space: spaces.Space[Any]
    state_dim: int
    action_space: spaces.Space[Any]
    task_space: spaces.Space[Any] | None
    generators: tuple[tuple[Trunk, BaseNetwork], ...] = ()


class LatentSequences(NamedTuple):
    """
    A minibatch of PPO's as objectives see it: sequences that may begin and end anywhere in a trial.

    :param latents: ``(T, B, latent_dim)`` with the encoder's gradient
    :param resets: ``(T, B)`` bool, whether a trial starts
    :param new_episode: ``(T, B)`` bool, whether an episode starts that is not the trial's first
    :param task: ``(T, B, task_dim)``, flattened as the observation's ``task``; 0 wide where ``needs_task`` is False
    """

    latents: th.Tensor
    resets: th.Tensor
    new_episode: th.Tensor
    task: th.Tensor


class TrialSequences(NamedTuple):
    """
    Whole trials as objectives see them, padded behind their ends.

    :param mean: ``(T, B, belief_dim)`` of the belief after each observation, with the encoder's gradient
    :param log_variance: ``(T, B, belief_dim)`` likewise
    :param states: ``(T, B, state_dim)`` normalised
    :param actions: ``(T, B, action_dim)``, discrete ones one-hot
    :param rewards: ``(T, B)`` as the environment gave them for those actions
    :param new_episode: ``(T, B)`` bool, whether an episode starts that is not the trial's first
    :param mask: ``(T, B)`` bool, False behind a trial's end
    """

    mean: th.Tensor
    log_variance: th.Tensor
    states: th.Tensor
    actions: th.Tensor
    rewards: th.Tensor
    new_episode: th.Tensor
    mask: th.Tensor


class AuxiliaryLoss(NamedTuple):
    """
    :param loss: what is minimised
    :param metrics: scalars without gradient, logged under ``auxiliary/``; NaN where there was nothing to measure
    """

    loss: th.Tensor
    metrics: Mapping[str, th.Tensor]


class AuxiliaryObjective(nn.Module, ABC):
    """
    An objective that HyperPPO trains beside its own; its parameters are those of its heads or decoders.

    It is built from :class:`AgentSpaces` and keyword arguments of its own, ``HyperPPO(auxiliary_kwargs=…)``. Derive
    from one of the subclasses, which say what it learns from.
    """

    needs_task: ClassVar[bool] = False
    """Whether it learns from the task, which the environment of training must then show (``expose_task=True``)."""


class MinibatchObjective(AuxiliaryObjective):
    """
    An objective on PPO's own minibatches: it rides on their pass through the encoder, and PPO's optimizer steps for
    both.
    """

    needs_task: ClassVar[bool] = True

    @abstractmethod
    def loss(self, batch: LatentSequences) -> AuxiliaryLoss:
        """
        The loss, weighted as it is added to PPO's.

        :param batch: the minibatch
        :return: loss and metrics
        """


class TrialObjective(AuxiliaryObjective):
    """
    An objective on whole past trials, with an optimizer of its own, which steps after PPO's update.

    :param learning_rate: Adam's, a number or a schedule
    :param n_updates: steps after each update of PPO, at least 1; None: 3 for every 16 trials that ended in its
        rollout, rounded up, as VariBAD's on grids (Zintgraf et al. 2020)
    :param n_trials: trials of a step, at least 1
    :param buffer_size: most steps of past trials that are kept, at least 1; open trials come on top
    :raises ValueError: when a number is out of range
    """

    def __init__(
        self, learning_rate: float | Callable[[float], float], n_updates: int | None, n_trials: int, buffer_size: int
    ) -> None:
        super().__init__()
        check_learning_rate(learning_rate)
        check_counts(n_updates=1 if n_updates is None else n_updates, n_trials=n_trials, buffer_size=buffer_size)
        self.learning_rate = learning_rate
        self.n_updates = n_updates
        self.n_trials = n_trials
        self.buffer_size = buffer_size

    @abstractmethod
    def loss(self, batch: TrialSequences) -> AuxiliaryLoss:
        """
        The loss.

        :param batch: the trials
        :return: loss and metrics
        """
