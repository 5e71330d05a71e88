"""From an objective's class to its training."""

from collections.abc import Mapping
from typing import Any

from gymnasium import spaces

from sb3_hyper.hyper_ppo.auxiliary import AuxiliaryTraining, MinibatchTraining
from sb3_hyper.hyper_ppo.trial_training import TrialTraining
from sb3_hyper.hyper_ppo.warm_up import WarmUpTraining
from sb3_hyper.policies import HyperActorCriticPolicy
from sb3_hyper.task_inference import (
    AgentSpaces,
    AuxiliaryObjective,
    EmbeddingRegression,
    MinibatchObjective,
    TrialObjective,
)


def make_auxiliary_training(
    objective_class: type[AuxiliaryObjective],
    kwargs: Mapping[str, Any],
    policy: HyperActorCriticPolicy,
    task_space: spaces.Space[Any] | None,
) -> AuxiliaryTraining:
    """
    Build an objective for a policy.

    :param objective_class: its class
    :param kwargs: its keyword arguments
    :param policy: the policy
    :param task_space: the space of the tasks, where the objective needs it
    :return: what trains it
    :raises TypeError: when it does not take one of the keywords, or is neither of minibatches nor of trials
    """
    network = policy.agent
    agent = AgentSpaces(
        latent_dim=policy.settings.latent_dim,
        belief_dim=network.to_latent.belief_dim,
        state_space=policy.state_space,
        state_dim=network.features.extractor.features_dim,
        action_space=policy.action_space,
        task_space=task_space,
        generators=((network.trunk, network.actor), (network.critic_trunk or network.trunk, network.critic)),
    )
    objective = objective_class(agent, **kwargs).to(policy.device)
    if isinstance(objective, EmbeddingRegression):
        return WarmUpTraining(objective, policy)
    if isinstance(objective, MinibatchObjective):
        return MinibatchTraining(objective, policy)
    if isinstance(objective, TrialObjective):
        return TrialTraining(objective, policy)
    raise TypeError(f"{objective_class.__name__} must be derived from MinibatchObjective or TrialObjective.")
