"""The training of an objective that begins with a warm-up, in which the agent is told the task."""

import torch as th
from typing_extensions import override

from sb3_hyper.hyper_ppo.auxiliary import MinibatchTraining
from sb3_hyper.policies import HyperActorCriticPolicy
from sb3_hyper.task_inference import EmbeddingRegression


class WarmUpTraining(MinibatchTraining):
    """
    As on minibatches; at the warm-up's end the policy may begin anew.

    :param objective: the objective
    :param policy: the policy, which is told the task in the warm-up
    """

    objective: EmbeddingRegression

    def __init__(self, objective: EmbeddingRegression, policy: HyperActorCriticPolicy) -> None:
        super().__init__(objective, policy)
        self._policy = policy
        policy.agent.told = objective.told

    @override
    def begin(self, n_updates: int) -> None:
        self.objective.begin(n_updates)

    @override
    def train(self, progress_remaining: float) -> bool:
        is_over = self.objective.finish_update()
        if is_over and self.objective.reinitialize:
            reinitialize(self._policy)
        # They may hold what the agent was told, or what another encoder made of the trial.
        return is_over


@th.no_grad()
def reinitialize(policy: HyperActorCriticPolicy) -> None:
    """
    Initialise a policy's parameters anew, and forget what its optimizer knows of them; running moments stay.

    :param policy: the policy
    """
    fresh = type(policy)(**policy._get_constructor_parameters())
    for parameter, new in zip(policy.parameters(), fresh.parameters(), strict=True):
        parameter.copy_(new)
        policy.optimizer.state.pop(parameter, None)
