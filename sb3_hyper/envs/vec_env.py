"""Stable-Baselines3's view of a batch of trials."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import array_api_compat.numpy as numpy_namespace
import array_api_compat.torch as torch_namespace
import gymnasium as gym
import numpy as np
import torch as th
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, TimeLimit
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from sb3_hyper.envs.batched_trials import BatchedTrials, FinishedTrials
from sb3_hyper.envs.rl2_observation import RL2Observation
from sb3_hyper.envs.task import TaskDistribution
from sb3_hyper.envs.task_env import TaskEnv
from sb3_hyper.envs.trial import TrialWrapper, check_n_episodes

Wrapper: TypeAlias = gym.Wrapper[Any, Any, Any, Any]


class TrialVecEnv(VecEnv):
    """
    Trials of one task distribution as a native SB3 ``VecEnv``: one process, no Python per environment.

    It shows, transition for transition, what a ``DummyVecEnv`` of ``Monitor(RL2Observation(TrialWrapper(TaskEnv)))``
    shows with the same seeds. For speed the infos are empty, but where a trial ended they hold all that SB3 reads,
    ``info["episode"]`` included, and ``"task"``, ``"episode_returns"`` and ``"episode_lengths"``. "Done" is the trial's
    end, where the next trial begins.

    :param distribution: The task distribution.
    :param n_envs: Number of trials that run side by side, at least 1.
    :param n_episodes: Episodes per trial; by default the distribution's.
    :param full_transitions: Whether the previous observation is part of the observation.
    :param expose_task: Whether the task, which is privileged, is part of the observation.
    :param device: None for numpy arrays in and out. A torch device for tensors in and out, with all work done there:
        for algorithms that read tensors, such as HyperPPO.
    :param render_mode: None, "ansi", "rgb_array" or "human".
    :param monitors: Monitors, one per environment, that write down each trial's result; usually given by
        :func:`batched_vec_env`.
    :raises ValueError: If a number is less than 1, or there are not as many monitors as environments.
    """

    def __init__(
        self,
        distribution: TaskDistribution,
        n_envs: int,
        n_episodes: int | None = None,
        full_transitions: bool = True,
        expose_task: bool = False,
        device: th.device | str | None = None,
        render_mode: str | None = None,
        monitors: Sequence[Monitor[Any, Any]] = (),
    ) -> None:
        n_episodes = distribution.n_episodes if n_episodes is None else n_episodes
        check_n_episodes(n_episodes)
        if n_envs < 1:
            raise ValueError(f"n_envs must be at least 1, got {n_envs}.")
        if monitors and len(monitors) != n_envs:
            raise ValueError(f"Wanted one monitor per environment, {n_envs}, or none; got {len(monitors)}.")
        self.distribution = distribution
        self.monitors = list(monitors)
        self.device = None if device is None else th.device(device)
        self._settings = (distribution, n_envs, n_episodes, full_transitions, expose_task)
        self._trials = BatchedTrials(*self._settings, *_namespace(self.device))
        self._template = RL2Observation(
            TrialWrapper(distribution.env_type()(distribution, render_mode), n_episodes), full_transitions, expose_task
        )
        self._overrides: list[dict[str, Any]] = [{} for _ in range(n_envs)]
        self._actions: Any = None
        self._actions_shape = (n_envs, *(distribution.action_space.shape or ()))
        self._start_time = time.time()
        super().__init__(n_envs, self._trials.observation_space, distribution.action_space)
        # Videos run at its render_fps.
        self.metadata = self._template.metadata

    def move_to(self, device: th.device | str | None) -> None:
        """
        Work elsewhere from now on; where that is no other place, nothing happens.

        The trials under way are given up, :meth:`reset` starts new ones: the same as it would have started here.

        :param device: None for numpy arrays in and out, or a torch device for tensors in and out.
        """
        target = None if device is None else th.device(device)
        if target == self.device:
            return
        before, self.device = self._trials, target
        self._trials = BatchedTrials(*self._settings, *_namespace(target))
        self._trials.go_on_with_stream_of(before)

    def reset(self) -> VecEnvObs:
        """
        Start a trial in every environment, with the seeds and options set before.

        :return: The observations.
        :raises ValueError: If an option is not ``{"task": task}``, or the task is none of the distribution's.
        """
        tasks = [self._task_option(options) for options in self._options]
        observation = self._trials.reset(self._seeds, tasks)
        self._write_reset_infos(range(self.num_envs))
        self._reset_seeds()
        self._reset_options()
        return observation

    def _task_option(self, options: dict[str, Any]) -> Any:
        if set(options) - {"task"}:
            raise ValueError(f"The only reset option is 'task', got {sorted(options)}.")
        return options.get("task")

    def _write_reset_infos(self, indices: Iterable[int]) -> None:
        tasks = self._trials.tasks()
        for index in indices:
            self.reset_infos[index] = {"task": tasks[index]}

    def step_async(self, actions: Any) -> None:
        """
        Keep the actions for :meth:`step_wait`.

        :param actions: Shape ``(n_envs, *action_space.shape)``.
        :raises ValueError: If the shape is wrong, or (for numpy) a discrete action is not in the action space or a
            continuous one is NaN. Values outside a box are clipped to its bounds.
        """
        actions = np.asarray(actions) if self.device is None else th.as_tensor(actions, device=self.device)
        if tuple(actions.shape) != self._actions_shape:
            raise ValueError(f"Wanted actions of shape {self._actions_shape}, got {tuple(actions.shape)}.")
        # On a device this would wait for it at every step: there a wrong action is its user's to avoid.
        if self.device is None:
            self._trials.encode.check(actions)
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """
        Take the step.

        :return: Observations, rewards, dones and infos; tensors if a device was given, else numpy arrays.
        """
        result = self._trials.step(self._actions)
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if result.finished is not None:
            self._write_infos(infos, result.finished)
        return result.observation, result.reward, result.done, infos

    def _write_infos(self, infos: list[dict[str, Any]], finished: FinishedTrials) -> None:
        now = time.time()
        for row, index in enumerate(finished.indices):
            info = infos[index]
            info["terminal_observation"] = {key: value[row] for key, value in finished.observation.items()}
            info["TimeLimit.truncated"] = bool(finished.truncated[row])
            info["task"] = finished.task[row]
            info["episode_returns"] = finished.episode_returns[row].tolist()
            info["episode_lengths"] = finished.episode_lengths[row].tolist()
            trial_return, length = sum(info["episode_returns"]), sum(info["episode_lengths"])
            if self.monitors:
                info["episode"] = _write_to_monitor(self.monitors[index], trial_return, length, info)
            else:
                elapsed = round(now - self._start_time, 6)
                info["episode"] = {"r": round(trial_return, 6), "l": length, "t": elapsed}
        self._write_reset_infos(finished.indices)

    def close(self) -> None:
        """Close the monitors' files."""
        for monitor in self.monitors:
            monitor.close()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """
        Read an attribute of some environments.

        :param attr_name: Its name: ``"task"``, or any attribute of the single environment.
        :param indices: Which environments; None for all.
        :return: One value per environment.
        :raises AttributeError: If there is none of that name.
        """
        return [self._attribute(attr_name, index) for index in self._get_indices(indices)]

    def _attribute(self, name: str, index: int) -> Any:
        if name in self._overrides[index]:
            return self._overrides[index][name]
        if name == "task":
            # Its own copy: a view would keep the tasks of all environments alive.
            return np.array(self._trials.row(index)[0][0])
        return self._stand_in(index).get_wrapper_attr(name)

    def _stand_in(self, index: int) -> gym.Env[Any, Any]:
        """A single environment with the settings (not the state) of this one."""
        return self.monitors[index] if self.monitors else self._template

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """
        Note an attribute of some environments, which :meth:`get_attr` gives back; it changes nothing else.

        :param attr_name: Its name.
        :param value: Its value.
        :param indices: Which environments; None for all.
        :raises AttributeError: If the environments have such an attribute already.
        """
        if self._template.has_wrapper_attr(attr_name):
            raise AttributeError(
                f"{attr_name!r} of a TrialVecEnv cannot be set: its environments share one definition. Build another "
                "TrialVecEnv, or set tasks with set_options({'task': task}) before reset()."
            )
        for index in self._get_indices(indices):
            self._overrides[index][attr_name] = value

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """
        Call a method of some environments.

        :param method_name: ``"render"``, or any method that neither steps nor resets.
        :param method_args: Its positional arguments.
        :param indices: Which environments; None for all.
        :param method_kwargs: Its keyword arguments.
        :return: One result per environment.
        :raises AttributeError: If there is none of that name, or it would step one environment alone.
        """
        if method_name in ("reset", "step", "close"):
            raise AttributeError(f"{method_name}() of one environment alone: those of a TrialVecEnv move together.")
        targets = self._get_indices(indices)
        if method_name == "render":
            return [self._render_one(index) for index in targets]
        return [self._attribute(method_name, index)(*method_args, **method_kwargs) for index in targets]

    def env_is_wrapped(self, wrapper_class: type[Wrapper], indices: VecEnvIndices = None) -> list[bool]:
        """
        Say whether the environments behave as if they were in a wrapper.

        :param wrapper_class: The wrapper; True for Monitor, whose results are in the infos.
        :param indices: Which environments; None for all.
        :return: One answer per environment.
        """
        return [
            issubclass(Monitor, wrapper_class) or _find_wrapper(self._stand_in(index), wrapper_class) is not None
            for index in self._get_indices(indices)
        ]

    def _render_one(self, index: int) -> Any:
        task, state = self._trials.row(index)
        if self.render_mode == "rgb_array":
            return self.distribution.render_rgb(task, state)
        text = self.distribution.render_text(task, state)
        if self.render_mode == "human":
            print(text, flush=True)
            return None
        return text

    def get_images(self) -> Sequence[np.ndarray[Any, Any] | None]:
        """
        Draw every environment.

        :return: uint8 images, shape ``(height, width, 3)`` each; None each if the render mode is not "rgb_array".
        """
        return [self._render_one(i) if self.render_mode == "rgb_array" else None for i in range(self.num_envs)]


def _namespace(device: th.device | None) -> tuple[Any, th.device | None]:
    """The array library to work with, and its device."""
    return (numpy_namespace, None) if device is None else (torch_namespace, device)


def _write_to_monitor(
    monitor: Monitor[Any, Any], trial_return: float, length: int, info: dict[str, Any]
) -> dict[str, Any]:
    """Record a trial as the monitor would have done, had it seen the steps."""
    elapsed = time.time() - monitor.t_start
    result = {"r": round(trial_return, 6), "l": length, "t": round(elapsed, 6)}
    result.update({key: info[key] for key in monitor.info_keywords})
    monitor.episode_returns.append(trial_return)
    monitor.episode_lengths.append(length)
    monitor.episode_times.append(elapsed)
    monitor.total_steps += length
    if monitor.results_writer is not None:
        monitor.results_writer.write_row(result)
    return result


def _find_wrapper(env: gym.Env[Any, Any], wrapper_class: type[Wrapper]) -> Wrapper | None:
    while isinstance(env, gym.Wrapper):
        if isinstance(env, wrapper_class):
            return env
        env = env.env
    return None


def batched_vec_env(env_fns: Iterable[Callable[[], gym.Env[Any, Any]]]) -> VecEnv:
    """
    Build the fastest in-process ``VecEnv`` for these environments; give it to ``make_vec_env`` as ``vec_env_cls``.

    If they are all trials of the same distribution with the same settings, under nothing but SB3's ``Monitor`` and the
    wrappers that ``gymnasium.make`` adds, a :class:`TrialVecEnv` takes over, which writes to the same monitor files.
    Otherwise they go into a ``DummyVecEnv``.

    :param env_fns: Functions that each build one environment.
    :return: The vectorised environment.
    :raises ValueError: If there are no functions.
    """
    envs = [env_fn() for env_fn in env_fns]
    if not envs:
        raise ValueError("batched_vec_env needs at least one function that builds an environment, got none.")
    cores = [_trial_core(env) for env in envs]
    first = cores[0]
    if first is None or any(core != first for core in cores[1:]):
        for index, env in enumerate(envs):
            if isinstance(env, gym.Wrapper) and env.has_wrapper_attr("env_index"):
                env.set_wrapper_attr("env_index", index)
        return DummyVecEnv([lambda env=env: env for env in envs])  # type: ignore[misc]
    monitors = [env for env in envs if isinstance(env, Monitor)]
    distribution, n_episodes, full_transitions, expose_task, render_mode, _ = first
    return TrialVecEnv(
        distribution, len(envs), n_episodes, full_transitions, expose_task, render_mode=render_mode, monitors=monitors
    )


def _trial_core(env: gym.Env[Any, Any]) -> tuple[TaskDistribution, int, bool, bool, str | None, bool] | None:
    """Read the settings of a trial under transparent wrappers; None if it is anything else."""
    is_monitored = type(env) is Monitor
    if isinstance(env, Monitor) and is_monitored:
        if env.reset_keywords or not env.allow_early_resets:
            return None
        env = env.env
    n_steps: float = np.inf
    while isinstance(env, (OrderEnforcing, PassiveEnvChecker, TimeLimit)):
        if isinstance(env, TimeLimit):
            n_steps = min(n_steps, env._max_episode_steps)
        env = env.env
    if type(env) is not RL2Observation or type(env.env) is not TrialWrapper or not isinstance(env.env.env, TaskEnv):
        return None
    trial, task_env = env.env, env.env.env
    if type(task_env) is not task_env.distribution.env_type():
        return None
    if trial.task_sampler is not None or n_steps < trial.n_episodes * task_env.distribution.episode_length:
        return None
    settings = (trial.n_episodes, env.full_transitions, env.expose_task, task_env.render_mode, is_monitored)
    return (task_env.distribution, *settings)
