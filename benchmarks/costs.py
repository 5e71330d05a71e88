"""
What every policy costs: parameters, memory, time to act and frames per second of training, all on T-LS trials.

    python benchmarks/costs.py --threads 1 --json costs.json

- parameters: learned numbers, of all the networks that act
- memory: numbers that one environment's trial leaves behind for its next step, and what they take
- act: time of one step of all environments, as HyperPPO collects it, without the environments themselves
- frames/s: HyperPPO collecting a rollout and updating, 2 epochs of 4 minibatches, the zoo's settings of TMazeLS-v0,
  auxiliary objective included, after its warm-up

Times of one thread on a CPU are the processor's, not the clock's: other work on the machine counts little.

Policies take turns within a size; each begins with a tenth of a rollout, which does not count. One core takes
about a quarter of an hour for all of it; a table is printed when its size is complete.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from itertools import chain, repeat
from pathlib import Path
from typing import NamedTuple

import torch as th
from measuring import describe_machine, interleaved, median_and_spread, print_table, synchronize
from stable_baselines3.common.callbacks import BaseCallback

from sb3_hyper import HyperPPO
from sb3_hyper.envs import TMazeLS, TrialVecEnv
from sb3_hyper.hyper_ppo.collection import acting_threads, as_tensor
from sb3_hyper.policies import POLICIES, PRIVILEGED_POLICIES, HyperActorCriticPolicy
from sb3_hyper.task_inference import EmbeddingRegression

EVERY_POLICY = {**POLICIES, **PRIVILEGED_POLICIES}
# The base class is RNNHNPolicy by another name.
NAMES = [name for name, policy in EVERY_POLICY.items() if policy is not HyperActorCriticPolicy]
BYTES_PER_NUMBER = 4


class Costs(NamedTuple):
    """One row; the last two hold a number for each repetition."""

    policy: str
    size: str
    parameters: int
    memory_dim: int
    act_milliseconds: list[float]
    frames_per_second: list[float]


Clock = Callable[[], float]
"""Seconds since some moment."""


def choose_clock(options: argparse.Namespace) -> Clock:
    """The processor's time where one thread of it does all the work, else the time that passes."""
    return time.process_time if options.device == "cpu" and options.threads == 1 else time.perf_counter


class LastRollout(BaseCallback):
    """
    When the last rollout began.

    :param clock: tells the time
    """

    began: float

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def _on_rollout_start(self) -> None:
        self.began = self._clock()

    def _on_step(self) -> bool:
        return True


def warms_up(name: str) -> bool:
    """Whether a policy is told the task for a while, before it begins to infer."""
    objective = EVERY_POLICY[name].auxiliary_class
    return objective is not None and issubclass(objective, EmbeddingRegression)


def make_model(name: str, size: str, n_steps: int, options: argparse.Namespace) -> HyperPPO:
    """HyperPPO with the zoo's settings of TMazeLS-v0, but for the learning rate's schedule and the shortest warm-up."""
    return HyperPPO(
        name,
        TrialVecEnv(TMazeLS(), options.envs, expose_task=True),
        n_steps=n_steps,
        batch_size=n_steps * options.envs // 4,
        n_epochs=2,
        learning_rate=1e-3,
        clip_range=0.1,
        clip_range_vf=0.1,
        ent_coef=0.01,
        normalize_reward=True,
        policy_kwargs={"size": size, "encoder_dim": options.width},
        auxiliary_kwargs={"n_warmup_updates": 1} if warms_up(name) else None,
        seed=0,
        device=options.device,
    )


def rollout_lengths(options: argparse.Namespace) -> Iterator[int]:
    """A tenth of a rollout in the round that is thrown away, whole ones after it."""
    return chain([-(-options.steps // 10)], repeat(options.steps))


def timed_acting(model: HyperPPO, options: argparse.Namespace) -> Callable[[], float]:
    """Milliseconds of a step, from a trial's start on, always with the same observation."""
    obs = as_tensor(TrialVecEnv(TMazeLS(), options.envs, expose_task=True).reset(), model.device)
    lengths, clock = rollout_lengths(options), choose_clock(options)

    def run() -> float:
        n_steps = next(lengths)
        model.policy.set_training_mode(False)
        memory = th.zeros(options.envs, model.policy.memory_dim, device=model.device)
        starts = th.ones(options.envs, dtype=th.bool, device=model.device)
        goes_on = th.zeros_like(starts)
        with th.no_grad(), acting_threads(model.device, options.envs):
            act = model.policy.make_act()
            synchronize(options.device)
            start = clock()
            for _ in range(n_steps):
                actions, _, memory, _ = act(obs, memory, starts, model.policy.sample_noise(memory))
                # Environments wait for their actions, and so for a GPU.
                actions.cpu()
                starts = goes_on
            synchronize(options.device)
        return 1000 * (clock() - start) / n_steps

    return run


def timed_training(name: str, size: str, options: argparse.Namespace) -> Callable[[], float]:
    """Frames per second of a rollout and the update on it, the first after a warm-up, of a new model each time."""
    lengths, clock = rollout_lengths(options), choose_clock(options)

    def run() -> float:
        model = make_model(name, size, next(lengths), options)
        frames = model.n_steps * model.n_envs
        rollout = LastRollout(clock)
        model.learn(2 * frames if warms_up(name) else frames, rollout)
        synchronize(options.device)
        return frames / (clock() - rollout.began)

    return run


def measure(size: str, options: argparse.Namespace) -> list[Costs]:
    """Costs of all policies at one size."""
    names = [name for name in NAMES if name in options.policies]
    models = {name: make_model(name, size, 1, options) for name in names}
    milliseconds = interleaved(
        {name: timed_acting(model, options) for name, model in models.items()}, options.repetitions
    )
    rates = interleaved({name: timed_training(name, size, options) for name in names}, options.repetitions)
    return [
        Costs(
            policy=name,
            size=size,
            parameters=sum(parameter.numel() for parameter in models[name].policy.parameters()),
            memory_dim=models[name].policy.memory_dim,
            act_milliseconds=milliseconds[name],
            frames_per_second=rates[name],
        )
        for name in names
    ]


def print_costs(size: str, costs: list[Costs]) -> None:
    rows = [
        [
            row.policy,
            str(row.parameters),
            str(row.memory_dim),
            f"{row.memory_dim * BYTES_PER_NUMBER / 1024:.1f}",
            f"{statistics.median(row.act_milliseconds):.2f}",
            median_and_spread(row.frames_per_second, ".0f"),
        ]
        for row in costs
    ]
    print(f"\nSize {size}")
    print_table(["", "parameters", "memory", "[KiB]", "act [ms]", "frames/s (smallest to largest)"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description="What every policy costs, on T-LS trials")
    parser.add_argument("--sizes", nargs="+", default=["S", "XL"], help="named sizes")
    parser.add_argument("--policies", nargs="+", default=NAMES, choices=NAMES, metavar="POLICY", help="default: all")
    parser.add_argument("--steps", type=int, default=700, help="steps of a rollout")
    parser.add_argument("--envs", type=int, default=16, help="environments; a multiple of 4")
    parser.add_argument("--width", type=int, default=256, help="width of an encoding")
    parser.add_argument("--repetitions", type=int, default=1, help="measured rollouts of each")
    parser.add_argument("--threads", type=int, default=1, help="threads for PyTorch")
    parser.add_argument("--device", default="cpu", help="PyTorch device")
    parser.add_argument("--json", type=Path, help="file to write all measurements to")
    options = parser.parse_args()
    th.set_num_threads(options.threads)
    print(describe_machine(options.device))
    print(
        f"{options.envs} environments x {options.steps} steps, width {options.width}, {options.repetitions} round(s)",
        flush=True,
    )
    costs: list[Costs] = []
    for size in options.sizes:
        measured = measure(size, options)
        print_costs(size, measured)
        costs += measured
        if options.json is not None:
            options.json.parent.mkdir(parents=True, exist_ok=True)
            options.json.write_text(json.dumps([row._asdict() for row in costs], indent=2) + "\n")


if __name__ == "__main__":
    main()
