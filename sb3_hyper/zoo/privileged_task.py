"""Experiments whose policy or objective learns from the task: their environments of training show it."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING, Any

from stable_baselines3.common.save_util import json_to_data

from sb3_hyper.hyper_ppo import HyperPPO
from sb3_hyper.hyper_ppo.privileged_task import check_shows_task, is_privileged, needs_task, objective_of

if TYPE_CHECKING:
    from rl_zoo3.exp_manager import ExperimentManager


def _policy_class(policy: Any) -> Any:
    """The class that a policy's name means; any other thing as it is."""
    if isinstance(policy, str) and "." in policy:
        from rl_zoo3.utils import get_class_by_name

        return get_class_by_name(policy)
    return HyperPPO.policy_aliases.get(policy, policy) if isinstance(policy, str) else policy


def _spelled(policy_class: type[Any]) -> str:
    """The name by which RL-Zoo finds a policy."""
    names = [name for name, policy in HyperPPO.policy_aliases.items() if policy is policy_class]
    return names[0] if names else f"{policy_class.__module__}.{policy_class.__qualname__}"


def show_task_where_needed(experiment: ExperimentManager, hyperparams: dict[str, Any], saved: dict[str, Any]) -> None:
    """
    Set ``expose_task`` for an experiment's environments, where its policy or objective needs it.

    An objective needs it in training alone. A policy that sees the task needs it wherever it plays, so the run's saved
    settings say so too. With ``-i`` policy and objective are those of the saved model, whatever the hyperparameters
    say, and the run's settings name them.

    :param experiment: the experiment, changed in place
    :param hyperparams: its hyperparameters, changed in place
    :param saved: what of them is written into the run's folder, changed in place
    """
    policy_class, auxiliary_class = _policy_class(hyperparams.get("policy")), hyperparams.get("auxiliary_class")
    if experiment.continue_training:
        # RL-Zoo loads the rest, weights and buffers, itself.
        with zipfile.ZipFile(experiment.trained_agent) as archive:
            data = json_to_data(archive.read("data").decode())
        if data["policy_class"] is not policy_class:
            policy_class = data["policy_class"]
            saved["policy"] = _spelled(policy_class)
            print(f"Continuing with {saved['policy']}, as saved; the policy of the hyperparameters is not read.")
        auxiliary_class = data.get("auxiliary_class")
    if not isinstance(policy_class, type):
        # An unknown name is reported by HyperPPO, with its nearest.
        return
    if not needs_task(policy_class, objective_of(policy_class, auxiliary_class)):
        return
    check_shows_task(experiment.env_name.gym_id)
    env_kwargs = {**experiment.env_kwargs, **(hyperparams.get("env_kwargs") or {}), "expose_task": True}
    hyperparams["env_kwargs"] = env_kwargs
    if is_privileged(policy_class):
        saved["env_kwargs"] = env_kwargs
        experiment.eval_env_kwargs = {**experiment.eval_env_kwargs, "expose_task": True}
        if getattr(experiment.args, "env_kwargs", None):
            # RL-Zoo's enjoy prefers the command line's arguments to the hyperparameters'.
            experiment.args.env_kwargs = env_kwargs
