"""
Environment steps per second: ours, native for many trials, against SB3's DummyVecEnv and SubprocVecEnv; for robots also
against EnvPool, where it is installed, and MuJoCo's step alone, on as many threads.

    python benchmarks/environments.py --envs HalfCheetahDir-v0 AntDir-v0 --n-envs 1 16 64 256 --repetitions 3

All step the same trials with random actions; trials that end begin anew.
"""

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch as th
from gymnasium.vector.utils import batch_space
from measuring import describe_machine, interleaved, median_and_spread, print_table
from physics_peers import envpool_steps, physics_steps
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv

from sb3_hyper.envs import TASK_DISTRIBUTIONS, batched_vec_env
from sb3_hyper.envs.mujoco.physics import useful_threads
from sb3_hyper.envs.mujoco.robot_tasks import RobotTasks

DEFAULT_ENVS = ("HalfCheetahDir-v0", "AntDir-v0", "TMazeLS-v0", "GridNavi-v0")


def make_competitors(env_id: str, n_envs: int, most_processes: int) -> dict[str, VecEnv]:
    """
    Build the vectorised environments.

    :param env_id: the environment
    :param n_envs: how many of it
    :param most_processes: no SubprocVecEnv for more environments than this
    """
    build = partial(make_vec_env, env_id, n_envs, seed=0)
    competitors = {"DummyVecEnv": build(vec_env_cls=DummyVecEnv)}
    if n_envs <= most_processes:
        # A forked child steps environments of its own, never our pool of threads; a spawned one imports all anew.
        method = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
        competitors["SubprocVecEnv"] = build(vec_env_cls=SubprocVecEnv, vec_env_kwargs={"start_method": method})
    competitors["ours"] = build(vec_env_cls=batched_vec_env)
    return competitors


def timed_steps(env: VecEnv, seconds: float) -> Callable[[], float]:
    """Step for about so long with actions drawn before; returns steps of all environments per second."""
    space = batch_space(env.action_space, env.num_envs)
    space.seed(0)
    actions = [np.asarray(space.sample()) for _ in range(16)]
    env.reset()

    def run() -> float:
        n_steps, start = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - start) < seconds:
            env.step(actions[n_steps % len(actions)])
            n_steps += 1
        return n_steps * env.num_envs / elapsed

    return run


def measure(env_id: str, n_envs: int, options: argparse.Namespace) -> list[list[str]]:
    """The rows of one environment at one number of copies."""
    competitors = make_competitors(env_id, n_envs, options.most_processes)
    cases = {name: timed_steps(env, options.seconds) for name, env in competitors.items()}
    distribution = TASK_DISTRIBUTIONS[env_id]()
    if isinstance(distribution, RobotTasks):
        n_threads = useful_threads(n_envs)
        envpool = envpool_steps(env_id, n_envs, n_threads, options.seconds)
        cases |= {"EnvPool": envpool} if envpool else {}
        cases["mj_step alone"] = physics_steps(distribution, n_threads, options.seconds)
    rates = interleaved(cases, options.repetitions)
    for env in competitors.values():
        env.close()
    slow = statistics.median(rates["DummyVecEnv"])
    return [
        [f"{env_id}, {name}", str(n_envs), median_and_spread(values, ".0f"), f"{statistics.median(values) / slow:.1f}"]
        for name, values in rates.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description="Environment steps per second")
    parser.add_argument("--envs", nargs="+", choices=TASK_DISTRIBUTIONS, default=DEFAULT_ENVS, metavar="ID")
    parser.add_argument("--n-envs", nargs="+", type=int, default=[1, 16, 64, 256], help="copies side by side")
    parser.add_argument("--most-processes", type=int, default=16, help="no SubprocVecEnv for more copies than this")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of one measurement")
    parser.add_argument("--repetitions", type=int, default=3, help="measurements of each")
    options = parser.parse_args()
    th.set_num_threads(1)
    print(describe_machine())
    print(f"{options.repetitions} rounds of {options.seconds:g} s\n")
    rows = [row for env_id in options.envs for n_envs in options.n_envs for row in measure(env_id, n_envs, options)]
    print_table(["", "copies", "steps/s (smallest to largest)", "ratio"], rows)


if __name__ == "__main__":
    main()
