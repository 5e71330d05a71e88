"""What robots are measured against besides SB3: EnvPool's, and MuJoCo's step with nothing around it."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import numpy as np
import numpy.typing as npt
from gymnasium.vector.utils import batch_space

from sb3_hyper.envs.mujoco.library import import_mujoco
from sb3_hyper.envs.mujoco.robot_tasks import RobotTasks

ENVPOOL_IDS = {
    "HalfCheetahDir-v0": "HalfCheetah-v5",
    "HalfCheetahVel-v0": "HalfCheetah-v5",
    "AntDir-v0": "Ant-v5",
    "AntGoal-v0": "Ant-v5",
    "HumanoidDir-v0": "Humanoid-v5",
}
"""The same robot with the same MuJoCo steps in a step; EnvPool has no task distributions."""


def envpool_steps(env_id: str, n_envs: int, n_threads: int, seconds: float) -> Callable[[], float] | None:
    """
    EnvPool's steps per second, as a case to measure.

    :param env_id: our id
    :param n_envs: number of environments
    :param n_threads: its threads
    :param seconds: length of one measurement
    :return: the case; None where EnvPool is not installed or has no such robot
    """
    if env_id not in ENVPOOL_IDS or find_spec("envpool") is None:
        return None
    import envpool

    env = envpool.make(ENVPOOL_IDS[env_id], env_type="gymnasium", num_envs=n_envs, num_threads=n_threads)
    actions = _random_actions(env.action_space, n_envs)
    env.reset()
    return lambda: _rate(lambda n: env.step(actions[n % len(actions)]), n_envs, seconds)


def physics_steps(distribution: RobotTasks, n_threads: int, seconds: float) -> Callable[[], float]:
    """
    Steps per second of MuJoCo alone, a simulation on each thread: no observation, no reward. Nothing can be faster.

    :param distribution: whose robot
    :param n_threads: number of threads; MuJoCo's step runs without Python's lock
    :param seconds: length of one measurement
    :return: the case
    """
    mujoco = import_mujoco()
    model = distribution.load_model()
    controls = _random_actions(distribution.action_space, 1)[:, 0] * distribution.strength

    def simulate(_: int) -> float:
        data = mujoco.MjData(model)

        def step(n: int) -> None:
            if n % distribution.episode_length == 0:
                mujoco.mj_resetData(model, data)
            data.ctrl[:] = controls[n % len(controls)]
            mujoco.mj_step(model, data, distribution.frame_skip)

        return _rate(step, 1, seconds)

    def run() -> float:
        with ThreadPoolExecutor(n_threads) as pool:
            return sum(pool.map(simulate, range(n_threads)))

    return run


def _random_actions(space: object, n_envs: int) -> npt.NDArray[np.float32]:
    """``(256, n_envs, A)``."""
    batched = batch_space(space, n_envs)  # type: ignore[call-overload]
    batched.seed(0)
    return np.stack([batched.sample() for _ in range(256)])


def _rate(step: Callable[[int], object], n_envs: int, seconds: float) -> float:
    n_steps, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        step(n_steps)
        n_steps += 1
    return n_steps * n_envs / elapsed
