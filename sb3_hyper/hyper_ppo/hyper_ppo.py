"""HyperPPO: RecurrentPPO on whole sequences."""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import torch as th
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, Schedule
from stable_baselines3.common.utils import FloatSchedule
from stable_baselines3.common.vec_env import VecEnv

from sb3_hyper.checks import check_counts, check_weight
from sb3_hyper.errors import unknown_name
from sb3_hyper.hyper_ppo import losses
from sb3_hyper.hyper_ppo.auxiliary_ppo import AuxiliaryPPO
from sb3_hyper.hyper_ppo.collection import (
    DeferredValues,
    acting_threads,
    as_env_actions,
    as_tensor,
    check_finite,
    check_not_diverged,
    stack_steps,
    time_limit_values,
)
from sb3_hyper.hyper_ppo.privileged_task import needs_task, show_task
from sb3_hyper.hyper_ppo.rollout_buffer import SequenceMinibatch, SequenceRolloutBuffer
from sb3_hyper.hyper_ppo.settings import check_value_loss, sequence_length, wanted_length
from sb3_hyper.hyper_ppo.update_log import policy_log, update_log
from sb3_hyper.normalization import DiscountedReturnScale
from sb3_hyper.policies import POLICIES, PRIVILEGED_POLICIES, Acted, ActingStep, Evaluation, HyperActorCriticPolicy
from sb3_hyper.task_inference import AuxiliaryObjective

SelfHyperPPO = TypeVar("SelfHyperPPO", bound="HyperPPO")


_OF_THE_PRESENT_ROLLOUT = ("_last_memory", "_last_obs", "_last_episode_starts")
"""Not saved: they may be tensors on a device, and a loaded model starts with new trials."""


class HyperPPO(AuxiliaryPPO):
    """
    Proximal policy optimisation as in the papers (Beck et al. 2022, 2023, 2024), on whole sequences.

    Every argument of ``sb3_contrib.RecurrentPPO`` keeps its name and meaning. What differs: minibatches are sets of
    whole sequences, each evaluated in one pass; the rollout stays on the device with memories stored only where
    sequences start; the memory is carried from one rollout to the next, so that a trial may span several; time-limit
    bootstrapping is batched.

    :param policy: a policy's name, for example "SplAggerPolicy", or a subclass of HyperActorCriticPolicy
    :param env: the environment (if registered in Gymnasium, can be a name)
    :param learning_rate: learning rate, a number or a schedule
    :param n_steps: steps of a rollout for each environment
    :param batch_size: steps of a minibatch, made of whole sequences; None: the whole rollout
    :param n_epochs: passes over a rollout
    :param gamma: discount factor
    :param gae_lambda: lambda of generalised advantage estimation
    :param clip_range: clip range of the probability ratio, a number or a schedule
    :param clip_range_vf: clip range of the values; None: no clipping
    :param normalize_advantage: whether advantages are normalised in each minibatch
    :param ent_coef: weight of the entropy
    :param vf_coef: weight of the value loss
    :param max_grad_norm: largest norm of the gradient
    :param use_sde: whether to use state-dependent exploration (continuous actions)
    :param sde_sample_freq: sample a new exploration matrix every so many steps; -1: at a rollout's start
    :param target_kl: stop an update when the approximate KL divergence exceeds 1.5 times this
    :param value_loss: "huber" (the papers') or "mse" (RecurrentPPO's)
    :param normalize_reward: whether the losses see rewards scaled by the standard deviation of the discounted return;
        the encoder always sees what the environment says
    :param bptt_length: length of the sequences that gradients flow through; None: ``n_steps``, or ``batch_size`` where
        that is smaller
    :param latent_kl_coef: weight of the KL divergence of a Gaussian latent (PEARL) from N(0, 1)
    :param auxiliary_class: an objective that is trained beside PPO's, a name in ``AUXILIARY_OBJECTIVES`` or a class;
        None: the policy's own, if it has one
    :param auxiliary_kwargs: its keyword arguments
    :param stats_window_size: number of trials that the logged means are taken over
    :param tensorboard_log: folder of the TensorBoard logs; None: no logs
    :param policy_kwargs: keyword arguments of the policy
    :param verbose: 0 no output, 1 info, 2 debug
    :param seed: seed of all random generators
    :param device: where to compute; "auto": the GPU if there is one
    :param _init_setup_model: whether to build the networks at once
    :raises ValueError: when minibatches do not tile the rollout, or a name is unknown
    :raises TypeError: when the policy is none of this package's
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {**POLICIES, **PRIVILEGED_POLICIES}

    def __init__(
        self,
        policy: str | type[HyperActorCriticPolicy],
        env: GymEnv | str,
        learning_rate: float | Schedule = 3e-4,
        n_steps: int = 128,
        batch_size: int | None = 128,
        n_epochs: int = 10,
        gamma: float = 0.99,
        gae_lambda: float = 0.95,
        clip_range: float | Schedule = 0.2,
        clip_range_vf: float | Schedule | None = None,
        normalize_advantage: bool = True,
        ent_coef: float = 0.0,
        vf_coef: float = 0.5,
        max_grad_norm: float = 0.5,
        use_sde: bool = False,
        sde_sample_freq: int = -1,
        target_kl: float | None = None,
        value_loss: losses.ValueLoss = "huber",
        normalize_reward: bool = False,
        bptt_length: int | None = None,
        latent_kl_coef: float = 1e-6,
        auxiliary_class: str | type[AuxiliaryObjective] | None = None,
        auxiliary_kwargs: Mapping[str, Any] | None = None,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: th.device | str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        check_value_loss(value_loss)
        check_weight(latent_kl_coef=latent_kl_coef)
        check_counts(n_steps=n_steps, n_epochs=n_epochs, batch_size=1 if batch_size is None else batch_size)
        self.value_loss: losses.ValueLoss = value_loss
        self.latent_kl_coef = latent_kl_coef
        self.normalize_reward = normalize_reward
        self.bptt_length = bptt_length
        self.auxiliary_class = auxiliary_class
        self.auxiliary_kwargs = dict(auxiliary_kwargs or {})
        self.task_space: spaces.Space[Any] | None = None
        policy_class = self._get_policy_from_name(policy) if isinstance(policy, str) else policy
        super().__init__(
            policy,
            show_task(env) if isinstance(env, str) and needs_task(policy_class, self._objective(policy_class)) else env,
            learning_rate=learning_rate,
            n_steps=n_steps,
            batch_size=batch_size,
            n_epochs=n_epochs,
            gamma=gamma,
            gae_lambda=gae_lambda,
            clip_range=clip_range,
            clip_range_vf=clip_range_vf,
            normalize_advantage=normalize_advantage,
            ent_coef=ent_coef,
            vf_coef=vf_coef,
            max_grad_norm=max_grad_norm,
            use_sde=use_sde,
            sde_sample_freq=sde_sample_freq,
            target_kl=target_kl,
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            policy_kwargs=policy_kwargs,
            verbose=verbose,
            seed=seed,
            device=device,
            _init_setup_model=False,
        )
        if _init_setup_model:
            self._sequence_length()
            self._setup_model()

    def _get_policy_from_name(self, policy_name: str) -> type[BasePolicy]:
        if policy_name not in self.policy_aliases:
            raise unknown_name("policy", policy_name, self.policy_aliases)
        return super()._get_policy_from_name(policy_name)

    def _sequence_length(self) -> int:
        return sequence_length(self.n_steps, self.n_envs, self._minibatch_size(), self.bptt_length)

    def _minibatch_size(self) -> int:
        return self.batch_size or self.n_steps * self.n_envs

    def _setup_model(self) -> None:
        self._setup_lr_schedule()
        self.set_random_seed(self.seed)
        if not issubclass(self.policy_class, HyperActorCriticPolicy):
            raise TypeError(
                f"HyperPPO got the policy {self.policy_class.__name__}, wanted a subclass of HyperActorCriticPolicy or "
                f"one of {', '.join(POLICIES)}. Other recurrent policies train with sb3_contrib.RecurrentPPO."
            )
        rollout_space = self._set_up_policy()
        self.reward_scale = DiscountedReturnScale(self.n_envs, self.gamma).to(self.device)
        self.rollout_buffer = SequenceRolloutBuffer(
            self.n_steps,
            self.n_envs,
            # Not checked here: a model may be loaded to act in fewer environments than it was trained in.
            wanted_length(self.n_steps, self._minibatch_size(), self.bptt_length),
            self.policy.memory_dim,
            self.policy.noise_dim,
            rollout_space,
            self.action_space,
            self.device,
            self.gamma,
            self.gae_lambda,
        )
        self._last_memory = th.zeros(self.n_envs, self.policy.memory_dim, device=self.device)
        self._episode_returns: deque[Sequence[float]] = deque(maxlen=self._stats_window_size)
        self.clip_range = FloatSchedule(self.clip_range)
        if self.clip_range_vf is not None:
            if isinstance(self.clip_range_vf, (float, int)) and self.clip_range_vf <= 0:
                raise ValueError(
                    f"clip_range_vf={self.clip_range_vf} must be positive; pass None to switch clipping off."
                )
            self.clip_range_vf = FloatSchedule(self.clip_range_vf)

    def collect_rollouts(
        self,
        env: VecEnv,
        callback: BaseCallback,
        rollout_buffer: SequenceRolloutBuffer,  # type: ignore[override]
        n_rollout_steps: int,
    ) -> bool:
        """
        Fill the buffer with ``n_rollout_steps`` steps of every environment.

        :param env: the training environments
        :param callback: called at every step, and at the rollout's begin and end, when values are in the buffer
        :param rollout_buffer: the buffer
        :param n_rollout_steps: steps to take in each environment
        :return: False if the callback stopped the training
        :raises ValueError: when an observation or reward is not a finite number
        """
        self.policy.set_training_mode(False)
        rollout_buffer.reset()
        if self.use_sde:
            self.policy.reset_noise(env.num_envs)
        callback.on_rollout_start()
        all_rewards, all_starts, bootstrapped = [], [], []
        with th.no_grad():
            act = self.policy.make_act()
        deferred_values = DeferredValues(self.policy, rollout_buffer)
        for n_steps in range(n_rollout_steps):
            if self.use_sde and self.sde_sample_freq > 0 and n_steps % self.sde_sample_freq == 0:
                self.policy.reset_noise(env.num_envs)
            obs_tensor = rollout_buffer.write_observation(self._last_obs)  # type: ignore[arg-type]
            episode_starts = as_tensor(self._last_episode_starts, self.device, th.bool)
            memory = self._last_memory
            noise = self.policy.sample_noise(memory)
            actions, log_probs, next_memory, critic_input = self._act(act, obs_tensor, memory, episode_starts, noise)
            clipped_actions = as_env_actions(actions, self.policy, self._last_obs)
            new_obs, rewards, dones, infos = env.step(clipped_actions)
            self.num_timesteps += env.num_envs
            callback.update_locals(locals())
            if not callback.on_step():
                return False
            self._update_info_buffer(infos, dones)
            rollout_buffer.add(actions, episode_starts, log_probs, memory, noise)
            deferred_values.add(critic_input)
            all_rewards.append(rewards)
            all_starts.append(episode_starts)
            bootstrapped.append(time_limit_values(self.policy, next_memory, infos))
            self._last_obs = new_obs  # type: ignore[assignment]
            self._last_episode_starts, self._last_memory = dones, next_memory
        deferred_values.write()
        self._finish_rollout(rollout_buffer, all_rewards, all_starts, bootstrapped)
        callback.update_locals(locals())
        callback.on_rollout_end()
        return True

    def _act(self, act: ActingStep, obs: Any, memory: th.Tensor, episode_starts: th.Tensor, noise: th.Tensor) -> Acted:
        try:
            with th.no_grad(), acting_threads(self.device, self.n_envs):
                return act(obs, memory, episode_starts, noise)
        except (RuntimeError, ValueError):
            # Distributions refuse NaN: say where it came from, if it came from the environment.
            check_finite("observation", obs)
            raise

    def _finish_rollout(
        self,
        buffer: SequenceRolloutBuffer,
        rewards: list[Any],
        starts: list[th.Tensor],
        bootstrapped: list[th.Tensor | None],
    ) -> None:
        """Turn raw rewards into the losses' rewards, and let the buffer estimate advantages."""
        given = stack_steps(rewards, self.device, th.float32)
        check_finite("reward", given.t())
        check_finite("observation", buffer.observations_by_env())
        ended = as_tensor(self._last_episode_starts, self.device, th.bool)
        targets = self.reward_scale(given, th.stack(starts)) if self.normalize_reward else given.clone()
        for t, values in enumerate(bootstrapped):
            if values is not None:
                targets[t] += self.gamma * values
        with th.no_grad():
            last_obs = as_tensor(self._last_obs, self.device)
            check_finite("observation", last_obs)
            noise = self.policy.sample_noise(self._last_memory)
            last_values = self.policy.evaluate_values(last_obs, self._last_memory, ended[None], noise)
        buffer.finish(targets, last_values, ended)
        if self.auxiliary is not None:
            self.auxiliary.collect(buffer, given, ended)
        check_not_diverged(buffer.values)

    def train(self) -> None:
        """Update the policy from the rollout, then take its states into the policy's running moments."""
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        clip_range = self.clip_range(self._current_progress_remaining)  # type: ignore[operator]
        clip_range_vf = self.clip_range_vf and self.clip_range_vf(self._current_progress_remaining)  # type: ignore[operator]
        history: list[losses.Losses] = []
        epoch: list[losses.Losses] = []
        for _ in range(self.n_epochs):
            epoch = self._train_epoch(clip_range, clip_range_vf)
            history += epoch
            self._n_updates += 1
            if self._moved_too_far(epoch[-1]):
                break
        if self.auxiliary is not None and self.auxiliary.train(self._current_progress_remaining):
            self._last_memory = th.zeros_like(self._last_memory)
        self.policy.update_normalization(self.rollout_buffer.flat_observations())
        self._log_update(history, len(epoch), clip_range, clip_range_vf)

    def _train_epoch(self, clip_range: float, clip_range_vf: float | None) -> list[losses.Losses]:
        """One pass over the rollout; it ends early, without a step, when the policy has moved too far."""
        history: list[losses.Losses] = []
        # An objective's parameters are in the optimizer's last group.
        stepped = [parameter for group in self.policy.optimizer.param_groups for parameter in group["params"]]
        for minibatch in self.rollout_buffer.get(self._minibatch_size()):
            evaluation = self._evaluate(minibatch)
            parts = losses.ppo_losses(
                evaluation, minibatch, self.normalize_advantage, self.value_loss, clip_range, clip_range_vf
            )
            history.append(losses.Losses(*(part.detach() for part in parts)))
            if self._moved_too_far(parts):
                if self.verbose >= 1:
                    print(f"Early stopping due to reaching max kl: {parts.approx_kl:.2f}")
                break
            loss = parts.total(self._loss_weights())
            if self.auxiliary is not None:
                loss = self.auxiliary.add_to(loss, evaluation, minibatch)
            self.policy.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            th.nn.utils.clip_grad_norm_(stepped, self.max_grad_norm)
            self.policy.optimizer.step()
        return history

    def _moved_too_far(self, parts: losses.Losses) -> bool:
        return self.target_kl is not None and bool(parts.approx_kl > 1.5 * self.target_kl)

    def _evaluate(self, minibatch: SequenceMinibatch) -> Evaluation:
        return self.policy.evaluate_sequences(
            minibatch.observations, minibatch.actions, minibatch.memory, minibatch.resets, minibatch.latent_noise
        )

    def _loss_weights(self) -> losses.LossWeights:
        return losses.LossWeights(self.ent_coef, self.vf_coef, self.latent_kl_coef)

    def _log_update(
        self, history: list[losses.Losses], n_last_epoch: int, clip_range: float, clip_range_vf: float | None
    ) -> None:
        losses_log = update_log(history, n_last_epoch, self._loss_weights())
        for key, value in {**losses_log, **policy_log(self.policy, self.rollout_buffer)}.items():
            if key != "train/latent_kl" or (self.policy.noise_dim and not self.policy.settings.detach_latent):
                self.logger.record(key, value)
        for key, value in (self.auxiliary.log() if self.auxiliary is not None else {}).items():
            self.logger.record(f"auxiliary/{key}", value)
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self.logger.record("train/clip_range", clip_range)
        if clip_range_vf is not None:
            self.logger.record("train/clip_range_vf", clip_range_vf)

    def learn(
        self: SelfHyperPPO,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 1,
        tb_log_name: str = "HyperPPO",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> SelfHyperPPO:
        """
        Train; see :meth:`stable_baselines3.common.base_class.BaseAlgorithm.learn`.

        :param total_timesteps: steps to take in all environments together
        :param callback: called at every step
        :param log_interval: rollouts between two logs
        :param tb_log_name: name of the run in TensorBoard
        :param reset_num_timesteps: whether to count from zero
        :param progress_bar: whether to show a progress bar
        :return: the model
        """
        self._sequence_length()
        self._begin_objective(total_timesteps)
        if reset_num_timesteps:
            self._episode_returns.clear()
        return super().learn(total_timesteps, callback, log_interval, tb_log_name, reset_num_timesteps, progress_bar)

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), *_OF_THE_PRESENT_ROLLOUT, "reward_scale"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        state_dicts, tensors = super()._get_torch_save_params()
        return [*state_dicts, "reward_scale"], tensors
