"""The part of HyperPPO that knows about auxiliary objectives and the tasks that they learn from."""

from typing import Any

from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy

from sb3_hyper.hyper_ppo.auxiliary import AuxiliaryTraining
from sb3_hyper.hyper_ppo.make_auxiliary import make_auxiliary_training
from sb3_hyper.hyper_ppo.privileged_task import (
    check_task,
    objective_of,
    sees_task,
    task_blind,
    task_space_of,
    with_task,
)
from sb3_hyper.hyper_ppo.rollout_buffer import SequenceRolloutBuffer
from sb3_hyper.hyper_ppo.trial_ppo import TrialPPO
from sb3_hyper.policies import HyperActorCriticPolicy
from sb3_hyper.task_inference import AUXILIARY_OBJECTIVES, AuxiliaryObjective


class AuxiliaryPPO(TrialPPO):
    """
    RecurrentPPO whose policy may bring an auxiliary objective, or be given one.

    :param args: the parent's
    :param kwargs: the parent's
    """

    policy: HyperActorCriticPolicy
    rollout_buffer: SequenceRolloutBuffer  # type: ignore[assignment]
    auxiliary: AuxiliaryTraining | None
    auxiliary_class: str | type[AuxiliaryObjective] | None
    auxiliary_kwargs: dict[str, Any]
    task_space: spaces.Space[Any] | None

    def _objective(self, policy_class: type[BasePolicy]) -> type[AuxiliaryObjective] | None:
        return objective_of(policy_class, self.auxiliary_class)

    def _set_up_policy(self) -> spaces.Space[Any]:
        """Build the policy and its objective; return the space of what rollouts keep: more than the policy may see."""
        objective = self._objective(self.policy_class)
        is_told = sees_task(self.policy_class, self.policy_kwargs)
        if not is_told:
            self.observation_space = task_blind(self.observation_space)
        rollout_space: spaces.Space[Any] = self.observation_space
        if objective is not None and objective.needs_task:
            if is_told:
                raise self._infers_what_it_is_told(objective)
            if self.task_space is None and self.env is not None:
                self.task_space = task_space_of(self.env)
            rollout_space = with_task(self.observation_space, self.task_space)
        self.policy = self.policy_class(  # type: ignore[assignment]
            self.observation_space, self.action_space, self.lr_schedule, use_sde=self.use_sde, **self.policy_kwargs
        ).to(self.device)
        self.auxiliary = None
        if objective is None:
            self._check_no_objective()
        if objective is not None and (self.task_space is not None or not objective.needs_task):
            self.auxiliary = make_auxiliary_training(objective, self._objective_kwargs(), self.policy, self.task_space)
        return rollout_space

    def _infers_what_it_is_told(self, objective: type[AuxiliaryObjective]) -> ValueError:
        return ValueError(
            f"{self.policy_class.__name__} is told the task, and {objective.__name__} teaches an encoder to infer "
            "it. Leave auxiliary_class out, or take a policy that is not told: 'RNNHNPolicy' for example."
        )

    def _check_no_objective(self) -> None:
        """Raise ValueError where settings speak of an objective that is not there."""
        name = self.policy_class.__name__
        if self.policy.settings.detach_latent:
            raise ValueError(
                f"detach_latent=True keeps PPO's losses from the encoder, but {name} has no auxiliary objective: "
                f"nothing would train it. Give one as auxiliary_class, {next(iter(AUXILIARY_OBJECTIVES))!r} for "
                "example, or leave detach_latent out."
            )
        if self.auxiliary_kwargs:
            raise ValueError(
                f"auxiliary_kwargs={self.auxiliary_kwargs} are keywords of an auxiliary objective, but {name} has "
                f"none. Give one as auxiliary_class: {', '.join(AUXILIARY_OBJECTIVES)}."
            )

    def _begin_objective(self, total_timesteps: int) -> None:
        """Prepare the objective for training; ValueError where the environments do not show the task that it needs."""
        objective = self._objective(self.policy_class)
        if objective is not None and objective.needs_task and self.env is not None:
            check_task(self.env, self.task_space, objective.__name__)
        if self.auxiliary is not None:
            if not self.rollout_buffer.is_complete:
                self.auxiliary.miss_steps()
            self.auxiliary.begin(-(-total_timesteps // (self.n_steps * self.n_envs)))

    def _objective_kwargs(self) -> dict[str, Any]:
        own = {} if self.auxiliary_class is not None else getattr(self.policy_class, "auxiliary_preset", {})
        return {**own, **self.auxiliary_kwargs}

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "auxiliary"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        state_dicts, tensors = super()._get_torch_save_params()
        saved = [] if self.auxiliary is None else [f"auxiliary.{name}" for name in self.auxiliary.saved]
        return [*state_dicts, *saved], tensors
