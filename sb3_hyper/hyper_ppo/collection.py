"""What happens to numbers on their way between environments and HyperPPO."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces

from sb3_hyper.hyper_ppo.rollout_buffer import SequenceRolloutBuffer
from sb3_hyper.hypernetworks.distinct_rows import find_distinct_rows
from sb3_hyper.policies import BaseInput, HyperActorCriticPolicy

_SMALL_BATCH = 128
"""Up to this number of environments one thread acts; at 16 it was faster than two, the bound itself is an estimate."""

VALUED_TOGETHER = 4096
"""Rows that the critic is asked for at once: enough for its matrix products, little to keep."""


@contextmanager
def acting_threads(device: th.device, n_envs: int) -> Iterator[None]:
    """
    One thread for the small matrices of acting on a CPU, where handing work to a second one costs more than it saves.

    :param device: where the policy acts
    :param n_envs: number of environments
    """
    n_threads = th.get_num_threads()
    # The number of threads belongs to the process: models that train in threads must not restore each other's.
    is_alone = threading.current_thread() is threading.main_thread()
    if device.type != "cpu" or n_envs > _SMALL_BATCH or not is_alone:
        yield
        return
    th.set_num_threads(1)
    try:
        yield
    finally:
        th.set_num_threads(n_threads)


def as_tensor(value: Any, device: th.device, dtype: th.dtype | None = None) -> Any:
    """
    Numpy arrays or tensors, alone or by key, as tensors on the device; no copy where none is needed.

    :param value: an array, a tensor, or a mapping of them
    :param device: the device
    :param dtype: the type, for a single array; None: as it is, but float64 as float32
    :return: a tensor, or a dict of them
    """
    if isinstance(value, Mapping):
        return {key: as_tensor(x, device) for key, x in value.items()}
    tensor = th.as_tensor(value, dtype=dtype, device=device)
    return tensor.float() if tensor.dtype == th.float64 else tensor


def as_env_actions(actions: th.Tensor, policy: HyperActorCriticPolicy, obs: Any) -> Any:
    """
    Actions as the environments want them: inside the bounds, and as numpy arrays unless their observations are tensors.

    :param actions: ``(n_envs, …)`` as the policy made them
    :param policy: the policy, which knows the action space and whether it squashes
    :param obs: what the environments returned last
    :return: ``(n_envs, …)``
    """
    first = next(iter(obs.values())) if isinstance(obs, Mapping) else obs
    if isinstance(policy.action_space, spaces.Box):
        low = th.as_tensor(policy.action_space.low, device=actions.device)
        high = th.as_tensor(policy.action_space.high, device=actions.device)
        if policy.squash_output:
            # From [-1, 1] to the bounds.
            actions = low + 0.5 * (actions + 1.0) * (high - low)
        actions = actions.clamp(low, high)
    return actions if isinstance(first, th.Tensor) else actions.cpu().numpy()


class DeferredValues:
    """
    The critic's values of many steps at once: nothing that happens while acting depends on them.

    :param policy: whose critic is asked
    :param buffer: where the values go, after each step has been added to it
    """

    def __init__(self, policy: HyperActorCriticPolicy, buffer: SequenceRolloutBuffer) -> None:
        self._policy, self._buffer = policy, buffer
        self._inputs: list[BaseInput] = []

    def add(self, critic_input: BaseInput) -> None:
        """Take the input of the step that the buffer got last, one row for each environment."""
        self._inputs.append(critic_input)
        if len(self._inputs) * self._buffer.n_envs >= VALUED_TOGETHER:
            self.write()

    @th.no_grad()
    def write(self) -> None:
        """Write the values that are still missing."""
        if self._inputs:
            x = th.cat([critic_input.x for critic_input in self._inputs])
            factors = th.cat([critic_input.factors for critic_input in self._inputs])
            rows, indices = find_distinct_rows(x, x.shape[1] // 2)
            values = self._policy.values(BaseInput(rows, factors, indices))
            self._buffer.write_values(values.view(len(self._inputs), -1))
            self._inputs = []


def check_finite(
    name: str, value: th.Tensor | Mapping[str, th.Tensor], env_indices: Sequence[int] | None = None
) -> None:
    """
    Stop before NaN or infinity reaches the losses.

    :param name: "observation" or "reward"
    :param value: ``(B, …)`` with at least two axes, alone or by key
    :param env_indices: the environment of each of the B rows; None: counted from 0
    :raises ValueError: when a number is not finite
    """
    parts = value if isinstance(value, Mapping) else {"": value}
    for key, tensor in parts.items():
        if not tensor.is_floating_point() or tensor.sum().isfinite():
            continue
        rows = (~tensor.flatten(1).isfinite().all(dim=1)).nonzero().flatten().tolist()
        if rows:
            envs = rows if env_indices is None else [env_indices[row] for row in rows]
            where = f" {key!r}" if key else ""
            raise ValueError(
                f"The {name}{where} of environment {', '.join(map(str, envs))} holds NaN or infinity; wanted finite "
                "numbers. The environment made it (a division by zero, a diverging simulation): end the episode or "
                "clip there. Nothing was trained on it."
            )


def check_not_diverged(values: th.Tensor) -> None:
    """
    Stop when the network itself makes NaN or infinity of finite observations.

    :param values: ``(T, n_envs)`` the critic's values of a rollout
    :raises ValueError: when one is not finite
    """
    if not values.isfinite().all():
        raise ValueError(
            "The critic's values hold NaN or infinity though observations and rewards are finite. If it has been "
            "trained before, the network has diverged: lower learning_rate or max_grad_norm, or scale the rewards "
            "(normalize_reward=True), and start from the last saved model. If not, an encoder, aggregator or extractor "
            "of your own makes them: an aggregator's readout must be finite for a state of zeros."
        )


def stack_steps(steps: Sequence[Any], device: th.device, dtype: th.dtype) -> th.Tensor:
    """
    What the environments returned step after step, as one tensor.

    :param steps: T times ``(n_envs,)``, numpy arrays or tensors
    :param device: the device
    :param dtype: the type
    :return: ``(T, n_envs)``
    """
    stacked = th.stack(list(steps)) if isinstance(steps[0], th.Tensor) else np.stack(steps)
    return th.as_tensor(stacked, dtype=dtype, device=device)


def time_limit_values(
    policy: HyperActorCriticPolicy, memory: th.Tensor, infos: Sequence[Mapping[str, Any]]
) -> th.Tensor | None:
    """
    Values of the last observations where a time limit, not the task, ended a trial (SB3 issue 633), in one batch.

    :param policy: whose critic is asked
    :param memory: ``(n_envs, memory_dim)`` after the last step
    :param infos: one for each environment
    :return: ``(n_envs,)``, 0 where no time limit was met; None when none was anywhere
    """
    told = [(i, info) for i, info in enumerate(infos) if info]
    limited = [i for i, info in told if info.get("TimeLimit.truncated") and "terminal_observation" in info]
    if not limited:
        return None
    terminal = [infos[i]["terminal_observation"] for i in limited]
    obs: Any
    if isinstance(terminal[0], Mapping):
        obs = {key: np.stack([np.asarray(o[key]) for o in terminal]) for key in terminal[0]}
    else:
        obs = np.stack([np.asarray(o) for o in terminal])
    obs, index = as_tensor(obs, memory.device), th.tensor(limited, device=memory.device)
    check_finite("terminal observation", obs, limited)
    goes_on = th.zeros(1, len(limited), dtype=th.bool, device=memory.device)
    with th.no_grad():
        values = policy.evaluate_values(obs, memory[index], goes_on, policy.sample_noise(memory[index]))
    return th.zeros(len(memory), device=memory.device).index_copy(0, index, values)
