"""The training of an objective on whole past trials."""

import math

import torch as th
from stable_baselines3.common.preprocessing import preprocess_obs
from stable_baselines3.common.utils import FloatSchedule, update_learning_rate
from typing_extensions import override

from sb3_hyper.hyper_ppo.auxiliary import AuxiliaryTraining
from sb3_hyper.hyper_ppo.collection import as_env_actions
from sb3_hyper.hyper_ppo.rollout_buffer import SequenceMinibatch, SequenceRolloutBuffer
from sb3_hyper.policies import Evaluation, HyperActorCriticPolicy
from sb3_hyper.policies.features import episode_begins
from sb3_hyper.task_inference import TrialBuffer, TrialObjective, TrialSequences

_OBSERVATION = "observation."
"""What the names of an observation's parts begin with in the buffer; a plain one has no further name."""

UPDATES_PER_TRIAL = 3 / 16
"""VariBAD, on grids, makes 3 updates after a rollout in which 16 environments play one trial each."""


class TrialTraining(AuxiliaryTraining):
    """
    Steps of the objective's own Adam on encoder and decoders, after PPO's update, on trials that were seen before.

    :param objective: the objective
    :param policy: the policy whose encoder is trained
    """

    saved = ("objective", "optimizer", "trials")
    objective: TrialObjective

    def __init__(self, objective: TrialObjective, policy: HyperActorCriticPolicy) -> None:
        super().__init__(objective)
        self.policy = policy
        self.trials = TrialBuffer(objective.buffer_size, policy.device)
        self._n_ended = 0
        self.schedule = FloatSchedule(objective.learning_rate)
        parameters = [*policy.agent.inferring_parameters(), *objective.parameters()]
        self.optimizer = th.optim.Adam(parameters, lr=self.schedule(1.0))

    @override
    def begin(self, n_updates: int) -> None:
        """Nothing: it may begin at any time."""

    @override
    def miss_steps(self) -> None:
        self.trials.drop_unfinished()

    @override
    def add_to(self, loss: th.Tensor, evaluation: Evaluation, minibatch: SequenceMinibatch) -> th.Tensor:
        return loss

    @override
    def collect(self, rollout: SequenceRolloutBuffer, rewards: th.Tensor, ended: th.Tensor) -> None:
        obs = rollout.observations
        named = {_OBSERVATION + key: x for key, x in obs.items()} if isinstance(obs, dict) else {_OBSERVATION: obs}
        parts = {**named, "actions": rollout.actions, "rewards": rewards}
        self._n_ended = self.trials.add_rollout(parts, rollout.episode_starts, ended)

    @override
    def train(self, progress_remaining: float) -> bool:
        update_learning_rate(self.optimizer, self.schedule(progress_remaining))
        for _ in range(self._n_steps_of_adam()):
            loss, metrics = self.objective.loss(self._sample())
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            self._metrics.append(metrics)
        return False

    def _n_steps_of_adam(self) -> int:
        if not self.trials.n_steps:
            return 0
        if self.objective.n_updates is None:
            return math.ceil(self._n_ended * UPDATES_PER_TRIAL)
        return self.objective.n_updates

    def _sample(self) -> TrialSequences:
        """Past trials, with the beliefs that the encoder has of them now."""
        parts, mask = self.trials.sample(self.objective.n_trials)
        shape, features = mask.shape, self.policy.agent.features
        named = {key.removeprefix(_OBSERVATION): x.flatten(0, 1) for key, x in parts.items() if "." in key}
        obs = named.get("", named)
        resets = th.zeros_like(mask)
        resets[0] = True
        mean, log_variance = self.policy.agent.infer(obs, resets)
        # As the environments executed them.
        actions = as_env_actions(parts["actions"].flatten(0, 1), self.policy, obs)
        actions = preprocess_obs(actions, self.policy.action_space)
        assert isinstance(actions, th.Tensor)
        return TrialSequences(
            mean=mean,
            log_variance=log_variance,
            states=features.normalized_state(obs).detach().view(*shape, -1),
            actions=actions.view(*shape, -1),
            rewards=parts["rewards"],
            new_episode=episode_begins(named, mask.shape) if "new_episode" in named else th.zeros_like(mask),
            mask=mask,
        )
