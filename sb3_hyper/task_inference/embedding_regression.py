"""Embedding regression (TI): multi-task training learns an embedding of the task, then the encoder learns to say it."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch as th
from torch import nn
from typing_extensions import override

from sb3_hyper.checks import check_counts, check_weight, check_widths
from sb3_hyper.task_inference.episode_means import episode_means, named_episode_means
from sb3_hyper.task_inference.objective import AgentSpaces, AuxiliaryLoss, LatentSequences, MinibatchObjective
from sb3_hyper.task_inference.task_encoding import TaskEncoding
from sb3_hyper.task_inference.task_regression import perceptron
from sb3_hyper.task_inference.task_target import TargetKind

WARMUP_SHARE = 10
"""Where no length of the warm-up is given: one in so many updates of the training."""


class EmbeddingRegression(MinibatchObjective):
    r"""
    Regression of a learned embedding of the task (TI, Beck et al. 2023), in two phases.

    In the warm-up the agent is told the task: it acts on the embedding :math:`e(\mu)` in the latent's place, and PPO's
    losses train the embedding with the rest; an embedding has mean 0 and variance 1 over its D entries. After it, the
    agent acts on the encoder's latent, which learns by :math:`c \cdot \mathrm{mean}_t\, \lVert z_t -
    \mathrm{stop}(e(\mu)) \rVert^2 / D`; the embedding stays as it is.

    :param agent: what it is built for
    :param coef: c, the weight beside PPO's losses, 0 or above
    :param n_warmup_updates: rollouts, with PPO's update on each, that the warm-up lasts; None: a tenth of the training
    :param reinitialize: whether all but the embedding is initialised anew after the warm-up (TI); else everything is
        kept (TI++)
    :param hidden_dims: widths of the embedding's ReLU layers
    :param target: whether tasks go in as "classes" or "numbers"; "auto": classes where they are listed
    :raises ValueError: when a setting is out of range, or the tasks' space is not known
    """

    needs_task: ClassVar[bool] = True
    measured: ClassVar[str] = "embedding"
    """What is regressed, as the log calls it."""

    def __init__(
        self,
        agent: AgentSpaces,
        coef: float = 1.0,
        n_warmup_updates: int | None = None,
        reinitialize: bool = True,
        hidden_dims: Sequence[int] = (64, 32),
        target: TargetKind = "auto",
    ) -> None:
        super().__init__()
        check_weight(coef=coef)
        check_counts(n_warmup_updates=1 if n_warmup_updates is None else n_warmup_updates)
        if agent.task_space is None:
            raise ValueError("EmbeddingRegression was built without the space of the tasks, AgentSpaces(task_space=…).")
        self.coef = coef
        self.reinitialize = reinitialize
        self.encoding = TaskEncoding(agent.task_space, target)
        widths = check_widths("hidden_dims", hidden_dims)
        if agent.latent_dim < 3:
            raise ValueError(
                f"latent_dim={agent.latent_dim}: embeddings have mean 0 and variance 1 over their entries, which "
                "leaves nothing to learn of less than 3."
            )
        # Embeddings start much alike and small: without a scale of their own their regression would have no gradient.
        scale = nn.LayerNorm(agent.latent_dim, elementwise_affine=False)
        self.embedding = nn.Sequential(*perceptron(self.encoding.output_dim, widths, agent.latent_dim), scale)
        self._n_warmup_updates = n_warmup_updates
        self._n_updates = 0

    @property
    def in_warm_up(self) -> bool:
        """Whether the agent is told the task."""
        return self._n_warmup_updates is None or self._n_updates < self._n_warmup_updates

    def begin(self, n_updates: int) -> None:
        """
        Fix the warm-up's length when training begins, for this training and those that go on with it.

        :param n_updates: updates that are to come
        :raises ValueError: when the warm-up would take all of them
        """
        n_warmup_updates = self._n_warmup_updates or max(1, n_updates // WARMUP_SHARE)
        if self._n_updates < n_warmup_updates and self._n_updates + n_updates <= n_warmup_updates:
            raise ValueError(
                f"The warm-up takes n_warmup_updates={n_warmup_updates} updates, {self._n_updates} of which are "
                f"done, but this training has no more than {n_updates}: nothing would be inferred. Train for longer, "
                "or pass auxiliary_kwargs=dict(n_warmup_updates=…) with less."
            )
        self._n_warmup_updates = n_warmup_updates

    def finish_update(self) -> bool:
        """Count an update of PPO; say whether it ended the warm-up."""
        was_in_warm_up = self.in_warm_up
        self._n_updates += 1
        return was_in_warm_up and not self.in_warm_up

    def told(self, task: th.Tensor) -> th.Tensor | None:
        """What it is told instead of its latent, ``(N, task_dim) -> (N, latent_dim)``; None after the warm-up."""
        return self._embed(task) if self.in_warm_up else None

    def _embed(self, task: th.Tensor) -> th.Tensor:
        embedded: th.Tensor = self.embedding(self.encoding(task))
        return embedded

    @override
    def loss(self, batch: LatentSequences) -> AuxiliaryLoss:
        if self.in_warm_up:
            return AuxiliaryLoss(batch.latents.new_zeros(()), {"warm_up": batch.latents.new_ones(())})
        with th.no_grad():
            target = self._embed(batch.task)
        losses = self.regression(batch.latents, target)
        with th.no_grad():
            # 1 is what an encoder would get that always says the mean.
            mean = target.flatten(0, 1).mean(dim=0).expand_as(target)
            spread = self.regression(mean, target).mean()
            # Where all trials are on one task there is no error to compare with.
            errors = losses / th.where(spread > 1e-8, spread, th.nan)
        error = f"{self.measured}_error"
        metrics = {
            "warm_up": losses.new_zeros(()),
            f"{self.measured}_loss": losses.mean().detach(),
            error: errors.mean(),
            **named_episode_means(error, episode_means(errors, batch.resets, batch.new_episode)),
        }
        return AuxiliaryLoss(self.coef * losses.mean(), metrics)

    def regression(self, latents: th.Tensor, target: th.Tensor) -> th.Tensor:
        """
        How far latents are from what they should be.

        :param latents: ``(T, B, latent_dim)``
        :param target: ``(T, B, latent_dim)`` embeddings
        :return: ``(T, B)``
        """
        return (latents - target).square().mean(dim=-1)

    def get_extra_state(self) -> dict[str, int | None]:
        """How far the warm-up has come: part of what is saved."""
        return {"n_warmup_updates": self._n_warmup_updates, "n_updates": self._n_updates}

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Take over how far another warm-up has come."""
        self._n_warmup_updates, self._n_updates = state["n_warmup_updates"], state["n_updates"]
