"""Task regression: the encoder learns to say which task it is in (TI Naive)."""

from collections.abc import Sequence
from typing import ClassVar

from torch import nn
from typing_extensions import override

from sb3_hyper.checks import check_weight, check_widths
from sb3_hyper.task_inference.episode_means import episode_means, named_episode_means
from sb3_hyper.task_inference.objective import AgentSpaces, AuxiliaryLoss, LatentSequences, MinibatchObjective
from sb3_hyper.task_inference.task_target import TargetKind, make_task_target


class TaskRegression(MinibatchObjective):
    r"""
    Regression of the task's description from the latent, at every step of the trial (TI Naive, Beck et al. 2023):
    :math:`c \cdot \mathrm{mean}_t\, \ell(g(z_t), \text{task})`.

    The loss is the cross-entropy where the tasks are listed, and the squared error where they are numbers
    (:func:`~sb3_hyper.task_inference.task_target.make_task_target`).

    :param agent: what it is built for
    :param coef: c, the weight beside PPO's losses, 0 or above
    :param hidden_dims: widths of the ReLU layers of the head g; [] for a linear one
    :param target: "auto", by the space of the tasks; or "classes" or "numbers"
    :raises ValueError: when a setting is out of range, the tasks' space is not known, or classes are wanted where the
        tasks are not listed
    """

    needs_task: ClassVar[bool] = True

    def __init__(
        self,
        agent: AgentSpaces,
        coef: float = 1.0,
        hidden_dims: Sequence[int] = (64, 32),
        target: TargetKind = "auto",
    ) -> None:
        super().__init__()
        check_weight(coef=coef)
        if agent.task_space is None:
            raise ValueError("TaskRegression was built without the space of the tasks, AgentSpaces(task_space=…).")
        self.coef = coef
        self.target = make_task_target(agent.task_space, target)
        self.head = perceptron(agent.latent_dim, check_widths("hidden_dims", hidden_dims), self.target.output_dim)

    @override
    def loss(self, batch: LatentSequences) -> AuxiliaryLoss:
        losses, errors = self.target(self.head(batch.latents), batch.task)
        mean = losses.mean()
        by_episode = episode_means(errors, batch.resets, batch.new_episode)
        metrics = {
            "task_loss": mean.detach(),
            "task_error": errors.mean(),
            **named_episode_means("task_error", by_episode),
        }
        return AuxiliaryLoss(self.coef * mean, metrics)


def perceptron(n_inputs: int, hidden_dims: Sequence[int], n_outputs: int) -> nn.Sequential:
    """Linear layers with ReLU between them."""
    layers: list[nn.Module] = []
    for width in hidden_dims:
        layers += [nn.Linear(n_inputs, width), nn.ReLU()]
        n_inputs = width
    return nn.Sequential(*layers, nn.Linear(n_inputs, n_outputs))
