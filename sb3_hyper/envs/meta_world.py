"""Meta-World's meta-learning benchmarks ML1, ML10 and ML45, as trials."""

from __future__ import annotations

import os
from collections import OrderedDict
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.utils import EzPickle

from sb3_hyper.envs.finite_tasks import FiniteTaskSpace
from sb3_hyper.envs.meta_world_benchmark import load_benchmark
from sb3_hyper.envs.mujoco.rendering import has_display
from sb3_hyper.envs.rl2_observation import RL2Observation
from sb3_hyper.envs.task import Split
from sb3_hyper.envs.trial import TrialWrapper, check_n_episodes

_MOST_STEPS = 500
# A simulator takes 22 MB and a fifth of a second to build; those of ML45 together would take a gigabyte.
_MOST_SIMULATORS = 10


class MetaWorldEnv(gym.Env[npt.NDArray[np.float32], npt.NDArray[np.float32]], EzPickle):
    """
    One benchmark of Meta-World (Yu et al. 2019; McLean et al. 2025): a robot arm that learns to reach, push, open ...

    An episode of this environment is one inner episode. The benchmark comes from ``metaworld.ML1``, ``ML10`` or
    ``ML45``; the physics, observations and rewards are those of its environments, of which ``set_task`` sets the task.

    **Benchmarks.** ``ML1-<name>-v3``: one environment; train and test differ in the positions of goal and objects. The
    50 names are Meta-World's (``reach``, ``push``, ``pick-place`` ...). ``ML10-v3``: ten environments to train and five
    others to test. ``ML45-v3``: 45 and five. Each has 50 tasks per environment (and split, in ML1).

    **Observation**, float32, shape ``(39,)``, lengths in metres:

    | index | content | range |
    |---|---|---|
    | 0-2 | hand: x, y, z | [-0.525, 0.525], [0.348, 1.025], [-0.0525, 0.7] |
    | 3 | opening of the gripper | [0, 1] |
    | 4-10 | first object: position, and orientation as a quaternion | unbounded |
    | 11-17 | second object, zeros where there is none | unbounded |
    | 18-35 | entries 0-17 of the step before (at the first step: of this one) | as above |
    | 36-38 | always 0: the goal, which ML benchmarks hide | 0 |

    **Action**, float32, shape ``(4,)``, in [-1, 1]; values outside are clipped: a move of the hand along x, y and z (1
    is 1 cm), and the effort that closes the gripper.

    **Reward**: Meta-World's, shaped by the task, in [0, 10] per step.

    **Start**: the positions that the task says. Physics and start have no other randomness.

    **End**: after 500 steps (``episode_length``), ``truncated``. A success does not end the episode.

    **Info**: ``task``; ``task_name``, the environment's name; ``success``, whether this step's state is one of success;
    ``is_success``, whether any state of the episode was, which is how Meta-World counts; and what its environment adds
    (``grasp_success``, ``obj_to_target`` ...).

    **Task**: a vector, see :class:`~sb3_hyper.envs.meta_world_benchmark.MetaWorldBenchmark`; without a task in the
    options ``reset`` draws one of the split, uniformly. Any task of the benchmark can be set.

    **Pictures**: ``rgb_array``, 480 x 480, from the camera "corner2".

    **Versions**: v3, Meta-World 3.

    :param benchmark: One of :data:`~sb3_hyper.envs.meta_world_benchmark.META_WORLD_IDS`.
    :param split: "train" or "test": whose tasks are drawn.
    :param benchmark_seed: Decides the 50 tasks of each environment.
    :param episode_length: Steps of an episode, 1 to 500.
    :param render_mode: None or "rgb_array".
    :raises ValueError: If an argument is out of range.
    :raises ImportError: If Meta-World is missing, or MuJoCo is too new for it.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 80}  # noqa: RUF012 (Gymnasium declares it so)

    def __init__(
        self,
        benchmark: str = "ML10-v3",
        split: Split = "train",
        benchmark_seed: int = 0,
        episode_length: int = _MOST_STEPS,
        render_mode: str | None = None,
    ) -> None:
        EzPickle.__init__(self, benchmark, split, benchmark_seed, episode_length, render_mode)
        if split not in ("train", "test"):
            raise ValueError(f"split must be 'train' or 'test', as Meta-World divides its tasks, got {split!r}.")
        if not 1 <= episode_length <= _MOST_STEPS:
            raise ValueError(f"episode_length must be 1 to {_MOST_STEPS}, Meta-World's limit, got {episode_length!r}.")
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode must be None or 'rgb_array', got {render_mode!r}.")
        self.benchmark = load_benchmark(benchmark, benchmark_seed)
        self.split = split
        self.episode_length = episode_length
        self.render_mode = render_mode
        self.observation_space = spaces.Box(-np.inf, np.inf, (39,), np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (4,), np.float32)
        self._vectors = np.concatenate([self.benchmark.vectors["train"], self.benchmark.vectors["test"]])
        self.task_space = FiniteTaskSpace(self._vectors)
        self._simulators: OrderedDict[str, Any] = OrderedDict()
        self._index: int | None = None
        self._n_steps = 0
        self._is_over = True
        self._is_success = False

    @property
    def task(self) -> npt.NDArray[np.float32]:
        """The present task; settable only through ``reset(options={"task": task})``."""
        return np.array(self._vectors[self._index_of_task()])

    @property
    def task_name(self) -> str:
        """Meta-World's name of the present environment, such as "reach-v3"."""
        return str(self._meta_world_task().env_name)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[npt.NDArray[np.float32], dict[str, Any]]:
        """
        Start an episode.

        :param seed: Starts the random stream of tasks afresh; None goes on with it.
        :param options: ``{"task": task}`` sets the task.
        :return: The first observation, and ``"task"`` and ``"task_name"``.
        :raises ValueError: If the task is not one of the benchmark.
        """
        super().reset(seed=seed)
        task = (options or {}).get("task")
        self._index = self._draw() if task is None else self._find(task)
        simulator = self._simulator()
        simulator.set_task(self._meta_world_task())
        observation, _ = simulator.reset()
        self._n_steps, self._is_over, self._is_success = 0, False, False
        return observation.astype(np.float32), self._named({})

    def step(
        self, action: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """
        Take one step.

        :param action: Four numbers; values outside [-1, 1] are clipped.
        :return: Observation, reward, False, truncated and info, see the class.
        :raises ValueError: If the action has another shape or is NaN.
        :raises RuntimeError: If the episode is over, or has not begun.
        """
        if self._is_over:
            raise RuntimeError("step() was called before reset(), or after the episode's end: call reset() first.")
        action = np.asarray(action, np.float32)
        if action.shape != (4,) or np.isnan(action).any():
            raise ValueError(f"Wanted an action of four numbers in [-1, 1], got {action!r}.")
        observation, reward, _, _, info = self._simulator().step(np.clip(action, -1, 1))
        self._n_steps += 1
        self._is_over = self._n_steps == self.episode_length
        self._is_success |= bool(info["success"])
        info = {**info, "success": bool(info["success"]), "is_success": self._is_success}
        return observation.astype(np.float32), float(reward), False, self._is_over, self._named(info)

    def render(self) -> Any:
        """
        Draw the present state.

        :return: uint8, shape ``(480, 480, 3)``; None without a render mode.
        :raises RuntimeError: Before the first reset.
        """
        if self.render_mode is None:
            gym.logger.warn("render() does nothing without a render_mode: pass render_mode='rgb_array'.")
            return None
        # The camera hangs upside down.
        return np.ascontiguousarray(self._simulator().render()[::-1, ::-1])

    def close(self) -> None:
        """Close the simulators."""
        while self._simulators:
            self._simulators.popitem()[1].close()

    def _named(self, info: dict[str, Any]) -> dict[str, Any]:
        return {**info, "task": self.task, "task_name": self.task_name}

    def _draw(self) -> int:
        first = 0 if self.split == "train" else len(self.benchmark.tasks["train"])
        return first + int(self.np_random.integers(len(self.benchmark.tasks[self.split])))

    def _find(self, task: Any) -> int:
        if not self.task_space.contains(task):
            raise ValueError(
                f"{task!r} is not a task of this benchmark. Set one of the rows of benchmark.vectors['train'] or "
                "['test'], or leave the task out to have it drawn."
            )
        return int((self._vectors == np.asarray(task, np.float32)).all(axis=1).argmax())

    def _index_of_task(self) -> int:
        if self._index is None:
            raise RuntimeError("There is no task before the first reset().")
        return self._index

    def _meta_world_task(self) -> Any:
        index, train = self._index_of_task(), self.benchmark.tasks["train"]
        return train[index] if index < len(train) else self.benchmark.tasks["test"][index - len(train)]

    def _simulator(self) -> Any:
        name = self.task_name
        if name not in self._simulators:
            if len(self._simulators) == _MOST_SIMULATORS:
                self._simulators.popitem(last=False)[1].close()
            if self.render_mode is not None and not has_display():
                os.environ.setdefault("MUJOCO_GL", "egl")
            camera = None if self.render_mode is None else "corner2"
            self._simulators[name] = self.benchmark.classes[name](render_mode=self.render_mode, camera_name=camera)
        self._simulators.move_to_end(name)
        return self._simulators[name]


def make_meta_world_trial(
    benchmark: str,
    n_episodes_per_trial: int = 2,
    full_transitions: bool = True,
    expose_task: bool = False,
    split: Split = "train",
    render_mode: str | None = None,
    **kwargs: Any,
) -> RL2Observation:
    """
    Build trials of a benchmark: ``RL2Observation(TrialWrapper(MetaWorldEnv(benchmark)))``.

    :param benchmark: One of :data:`~sb3_hyper.envs.meta_world_benchmark.META_WORLD_IDS`.
    :param n_episodes_per_trial: Episodes per trial, at least 1.
    :param full_transitions: Whether the previous observation is part of the observation.
    :param expose_task: Whether the task, which is privileged, is part of the observation.
    :param split: "train" or "test".
    :param render_mode: None or "rgb_array".
    :param kwargs: Further arguments of :class:`MetaWorldEnv`: ``benchmark_seed``, ``episode_length``.
    :return: The environment.
    :raises ValueError: If an argument is out of range.
    :raises ImportError: If Meta-World is missing, or MuJoCo is too new for it.
    """
    check_n_episodes(n_episodes_per_trial)
    env = MetaWorldEnv(benchmark, split, render_mode=render_mode, **kwargs)
    return RL2Observation(TrialWrapper(env, n_episodes_per_trial), full_transitions, expose_task)
