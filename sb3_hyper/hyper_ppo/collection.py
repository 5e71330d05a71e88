"""What happens to numbers on their way between environments and HyperPPO."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces

from sb3_hyper.policies import HyperActorCriticPolicy

Array = np.ndarray | th.Tensor


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


def check_finite(name: str, value: th.Tensor | Mapping[str, th.Tensor], n_timesteps: int) -> None:
    """
    Stop before NaN or infinity reaches the networks.

    :param name: "observation" or "reward"
    :param value: ``(n_envs, …)``, alone or by key
    :param n_timesteps: steps taken so far
    :raises ValueError: when a number is not finite
    """
    parts = value if isinstance(value, Mapping) else {"": value}
    for key, tensor in parts.items():
        # On a GPU asking would wait for it at every step; there NaN shows in the losses.
        if tensor.device.type != "cpu" or not tensor.is_floating_point() or tensor.sum().isfinite():
            continue
        envs = (
            (~tensor.flatten(1).isfinite().all(dim=1) if tensor.dim() > 1 else ~tensor.isfinite())
            .nonzero()
            .flatten()
            .tolist()
        )
        if envs:
            where = f" {key!r}" if key else ""
            raise ValueError(
                f"The {name}{where} holds NaN or infinity in environment {', '.join(map(str, envs))} after "
                f"{n_timesteps} steps; wanted finite numbers. The environment made it (a division by zero, a "
                "diverging simulation): end the episode or clip there. Nothing was trained on it."
            )


def bootstrap_time_limits(
    rewards: th.Tensor,
    gamma: float,
    policy: HyperActorCriticPolicy,
    memory: th.Tensor,
    infos: Sequence[Mapping[str, Any]],
) -> th.Tensor:
    """
    Add the discounted value of the last observation where a time limit, not the task, ended a trial (SB3 issue 633), in
    one batch.

    :param rewards: ``(n_envs,)``
    :param gamma: discount factor
    :param policy: whose critic is asked
    :param memory: ``(n_envs, memory_dim)`` after the last step
    :param infos: one for each environment
    :return: ``(n_envs,)``
    """
    limited = [i for i, info in enumerate(infos) if info.get("TimeLimit.truncated") and "terminal_observation" in info]
    if not limited:
        return rewards
    terminal = [infos[i]["terminal_observation"] for i in limited]
    obs: Any
    if isinstance(terminal[0], Mapping):
        obs = {key: np.stack([np.asarray(o[key]) for o in terminal]) for key in terminal[0]}
    else:
        obs = np.stack([np.asarray(o) for o in terminal])
    index = th.tensor(limited, device=memory.device)
    goes_on = th.zeros(1, len(limited), dtype=th.bool, device=memory.device)
    with th.no_grad():
        values = policy.evaluate_values(as_tensor(obs, memory.device), memory[index], goes_on)
    return rewards.index_add(0, index, gamma * values)
