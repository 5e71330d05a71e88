"""
Where one training iteration's time goes, and how near every stage is to what the machine could do at best.

    python benchmarks/roofline.py --policy SplAggerPolicy --envs 64 --steps 400 --repetitions 5 --threads 1

An iteration is a rollout and HyperPPO's update on it. Its stages:

- acting: the policy, one step of all environments at a time, without its critic
- environment: steps of the vectorised environment
- storing & returns: the rollout buffer, the critic on many steps at once, advantages and returns
- forward: the minibatches of sequences, the policy's pass along them, and the losses
- backward: gradients
- optimizer: gradients are zeroed and clipped, parameters changed
- auxiliary objective: that of the policies that have one, but for its gradients
- everything else: logging, callbacks, running moments, and the loops themselves

For every stage the table holds time, share, operations of matrix products and elementwise ones, bytes, the rate of all
operations, the roofline's limit max(operations / peak, bytes / bandwidth), and that limit's fraction of the time. Peak
and bandwidth are measured in the same rounds, with as many threads; of all rounds' iterations the one of median length
is shown. The total's limit is the sum of the stages': they follow each other.

Operations and bytes are counted in an iteration of its own, which is not timed. Bytes are those of every operation's
arguments and results, as if nothing stayed in a cache from one operation to the next: an upper bound on what memory
moves, so that a fraction above 1 means that caches did better. A kernel that does many steps, such as cuDNN's
recurrences, is one operation; those may round to TF32 and so exceed the large product's rate. Environments work outside
PyTorch and are not counted. A GPU is waited for at every stage's begin and end, the price of which the time "without
stages" shows.
"""

import argparse
import json
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch as th
from ceilings import Ceilings, Work, WorkCounter, copy_rate, product_rate
from measuring import describe_machine, interleaved, median_and_spread, print_table, synchronize
from stable_baselines3.common.env_util import make_vec_env

from sb3_hyper import HyperPPO
from sb3_hyper.envs import batched_vec_env
from sb3_hyper.hyper_ppo import hyper_ppo, losses
from sb3_hyper.hyper_ppo.collection import DeferredValues
from sb3_hyper.hyper_ppo.privileged_task import needs_task, objective_of

REST = "everything else"
UPDATE = ("forward", "backward", "optimizer", "auxiliary objective")
GIGA = 1e9


class Meter:
    """
    Divides what grows while a model trains, seconds or operations, among the stages of training.

    Every difference between two readings goes to one stage, so the stages' sum is all that grew.

    :param read: the reading, one number or several that never fall
    """

    def __init__(self, read: Callable[[], tuple[float, ...]]) -> None:
        self._read = read
        self._stage = REST
        self._last = np.array(read())
        self.stages: dict[str, np.ndarray] = defaultdict(lambda: np.zeros_like(self._last))

    def switch(self, stage: str) -> None:
        """What grows from here on is the stage's."""
        now = np.array(self._read())
        self.stages[self._stage] += now - self._last
        self._last, self._stage = now, stage

    def charging(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, with what it takes charged to the stage, unless another stage calls it."""

        def run(*args: Any, **kwargs: Any) -> Any:
            if self._stage != REST:
                return function(*args, **kwargs)
            self.switch(stage)
            try:
                return function(*args, **kwargs)
            finally:
                self.switch(REST)

        return run


def stages_of(model: HyperPPO) -> dict[str, list[tuple[Any, str]]]:
    """What the stages consist of: owners and names of functions."""
    policy, buffer = model.policy, model.rollout_buffer
    stages: dict[str, list[tuple[Any, str]]] = {
        "acting": [(policy, "make_act"), (policy, "sample_noise"), (model, "_act"), (hyper_ppo, "as_env_actions")],
        "environment": [(model.env, "step")],
        "storing & returns": [
            (buffer, "write_observation"),
            (buffer, "add"),
            (DeferredValues, "add"),
            (DeferredValues, "write"),
            (hyper_ppo, "time_limit_values"),
            (model, "_finish_rollout"),
        ],
        "forward": [
            (buffer, "_minibatch"),
            (policy, "evaluate_sequences"),
            (losses, "ppo_losses"),
            (losses.Losses, "total"),
        ],
        "backward": [(th.Tensor, "backward")],
        "optimizer": [
            (policy.optimizer, "zero_grad"),
            (th.nn.utils, "clip_grad_norm_"),
            (policy.optimizer, "step"),
        ],
    }
    if model.auxiliary is not None:
        stages["auxiliary objective"] = [(model.auxiliary, "add_to"), (model.auxiliary, "train")]
    return stages


@contextmanager
def metered(model: HyperPPO, meter: Meter) -> Iterator[None]:
    """Charge the stages of the model's training to the meter, which changes nothing of what is computed."""
    with ExitStack() as stack:
        for stage, functions in stages_of(model).items():
            for owner, name in functions:
                stack.enter_context(patch.object(owner, name, meter.charging(stage, getattr(owner, name))))
        meter.switch(REST)
        yield
        meter.switch(REST)


def make_model(options: argparse.Namespace) -> HyperPPO:
    """The model, past its first rollouts."""
    policy_class = HyperPPO.policy_aliases[options.policy]
    shown = {"expose_task": True} if needs_task(policy_class, objective_of(policy_class, None)) else {}
    state_dim = {} if options.state_dim is None else {"state_dim": options.state_dim}
    trials: Any = batched_vec_env
    model = HyperPPO(
        options.policy,
        make_vec_env(options.env, options.envs, seed=0, vec_env_cls=trials, env_kwargs=shown),
        n_steps=options.steps,
        batch_size=options.steps * options.envs // options.minibatches,
        n_epochs=options.epochs,
        learning_rate=1e-3,
        clip_range=0.1,
        clip_range_vf=0.1,
        ent_coef=0.01,
        normalize_reward=True,
        policy_kwargs={"size": options.size, "encoder_dim": options.width, **state_dim},
        seed=0,
        device=options.device,
    )
    # Two: an objective's warm-up must be shorter than the training, and is not what is measured.
    return model.learn(2 * options.steps * options.envs)


def iterate(model: HyperPPO) -> None:
    """A rollout and its update."""
    model.learn(model.n_steps * model.n_envs, reset_num_timesteps=False)


def timed_stages(model: HyperPPO, device: str, meters: list[Meter]) -> Callable[[], float]:
    """An iteration's seconds, and those of its stages in one more meter."""

    def clock() -> tuple[float, ...]:
        synchronize(device)
        return (time.perf_counter(),)

    def run() -> float:
        meter = Meter(clock)
        with metered(model, meter):
            iterate(model)
        meters.append(meter)
        return total_of(meter)

    return run


def timed_update(model: HyperPPO, device: str, updates: list[float]) -> Callable[[], float]:
    """An iteration's seconds without stages, and those of its update alone in the list."""
    train = model.train

    def timed_train() -> None:
        synchronize(device)
        start = time.perf_counter()
        train()
        synchronize(device)
        updates.append(time.perf_counter() - start)

    def run() -> float:
        synchronize(device)
        start = time.perf_counter()
        with patch.object(model, "train", timed_train):
            iterate(model)
        synchronize(device)
        return time.perf_counter() - start

    return run


def total_of(meter: Meter) -> float:
    return float(sum(seconds[0] for seconds in meter.stages.values()))


def count(model: HyperPPO) -> dict[str, Work]:
    """The work of an iteration's stages."""
    counter = WorkCounter()
    meter = Meter(lambda: counter.work)
    with metered(model, meter), counter:
        iterate(model)
    return {stage: Work(*meter.stages[stage].tolist()) for stage in (*stages_of(model), REST)}


def row(name: str, seconds: float, share: float, work: Work, limit: float) -> list[str]:
    numbers = (work.products / GIGA, work.elementwise / GIGA, work.bytes / GIGA)
    rate = (work.products + work.elementwise) / GIGA / seconds if seconds else 0.0
    return [
        name,
        f"{seconds:.3f}",
        f"{100 * share:.1f} %",
        *(f"{number:.3g}" for number in numbers),
        f"{rate:.3g}",
        f"{limit:.3f}",
        f"{limit / seconds:.2f}" if seconds else "",
    ]


def print_stages(seconds: dict[str, float], work: dict[str, Work], ceilings: Ceilings) -> None:
    """One row for each stage, and their sum."""
    total = sum(seconds.values())
    limits = {name: ceilings.seconds(work[name]) for name in seconds}
    rows = [row(name, spent, spent / total, work[name], limits[name]) for name, spent in seconds.items()]
    summed = Work(*(float(sum(parts)) for parts in zip(*work.values(), strict=True)))
    header = ["", "time [s]", "share", "products [GFLOP]", "elementwise [GFLOP]", "GB", "GFLOP/s", "limit [s]"]
    print_table([*header, "fraction"], [*rows, row("total", total, 1.0, summed, sum(limits.values()))])


def parse_options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Training's stages against the machine's ceilings")
    parser.add_argument("--policy", default="SplAggerPolicy", choices=HyperPPO.policy_aliases, metavar="POLICY")
    parser.add_argument("--size", default="S", help="named size of the base networks")
    parser.add_argument("--state-dim", type=int, help="width of their state embedding, 0: none; default: the size's")
    parser.add_argument("--env", default="TMazeLS-v0", help="registered environment")
    parser.add_argument("--envs", type=int, default=16, help="environments")
    parser.add_argument("--steps", type=int, default=700, help="steps of a rollout")
    parser.add_argument("--epochs", type=int, default=2, help="passes over a rollout")
    parser.add_argument("--minibatches", type=int, default=4, help="minibatches of a pass")
    parser.add_argument("--width", type=int, default=256, help="width of an encoding")
    parser.add_argument("--repetitions", type=int, default=3, help="measured iterations")
    parser.add_argument("--threads", type=int, default=1, help="threads for PyTorch")
    parser.add_argument("--device", default="cpu", help="PyTorch device")
    parser.add_argument("--json", type=Path, help="file to write all measurements to")
    return parser.parse_args(arguments)


def median_iteration(seconds: list[dict[str, float]]) -> dict[str, float]:
    """The stages of the iteration whose sum is the median of all, so that they belong together."""
    return sorted(seconds, key=lambda stages: sum(stages.values()))[(len(seconds) - 1) // 2]


def describe(options: argparse.Namespace, measured: dict[str, list[float]]) -> str:
    """What was run, and the ceilings."""
    state_dim = "" if options.state_dim is None else f", state_dim {options.state_dim}"
    product, copy = (median_and_spread([rate / GIGA for rate in measured[name]]) for name in ("product", "copy"))
    return (
        f"{options.policy}, size {options.size}{state_dim}, width {options.width}; {options.env}, {options.envs} "
        f"environments x {options.steps} steps, {options.epochs} epochs of {options.minibatches} minibatches; "
        f"{options.repetitions} round(s)\n"
        f"large product in float32, {th.get_float32_matmul_precision()} precision: {product} GFLOP/s\n"
        f"large copy: {copy} GB/s\n"
    )


def compare_update(work: dict[str, Work], updates: list[float], product_rates: list[float]) -> str:
    """The rate of the update's matrix products, beside that of one large product in the same round."""
    products = sum(work[stage].products for stage in UPDATE if stage in work)
    rates = [products / seconds for seconds in updates]
    percents = [100 * rate / best for rate, best in zip(rates, product_rates, strict=True)]
    return (
        f"update: {products / GIGA:.3g} GFLOP of matrix products in {median_and_spread(updates)} s are "
        f"{median_and_spread([rate / GIGA for rate in rates])} GFLOP/s, {median_and_spread(percents, '.0f')} % of the "
        "large product's rate"
    )


def write_json(path: Path, results: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=2) + "\n")


def main(arguments: list[str] | None = None) -> None:
    options = parse_options(arguments)
    th.set_num_threads(options.threads)
    model = make_model(options)
    meters: list[Meter] = []
    updates: list[float] = []
    measured = interleaved(
        {
            "product": product_rate(options.device),
            "copy": copy_rate(options.device),
            "with stages": timed_stages(model, options.device, meters),
            "without stages": timed_update(model, options.device, updates),
        },
        options.repetitions,
    )
    # The first round does not count.
    meters, updates = meters[1:], updates[1:]
    work, names = count(model), [*stages_of(model), REST]
    seconds = [{name: float(meter.stages[name][0]) for name in names} for meter in meters]
    ceilings = Ceilings(statistics.median(measured["product"]), statistics.median(measured["copy"]))
    print(describe_machine(options.device))
    print(describe(options, measured))
    print_stages(median_iteration(seconds), work, ceilings)
    print()
    for name in ("with stages", "without stages"):
        print(f"iteration {name}: {median_and_spread(measured[name])} s")
    print(compare_update(work, updates, measured["product"]))
    if options.json is not None:
        counted = {name: stage._asdict() for name, stage in work.items()}
        settings = {key: value for key, value in vars(options).items() if key != "json"}
        rates = {"flop_per_second": measured["product"], "bytes_per_second": measured["copy"]}
        write_json(
            options.json,
            {"settings": settings, **rates, "stage_seconds": seconds, "update_seconds": updates, "work": counted},
        )


if __name__ == "__main__":
    main()
