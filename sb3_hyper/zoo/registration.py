"""Extends the three modules of RL-Zoo that hold its tables: algorithms, search spaces and the experiment manager."""

import importlib
from collections.abc import Callable
from types import ModuleType

ALGORITHM = "hyper_ppo"


def _extend_utils(module: ModuleType) -> None:
    from sb3_hyper.envs import register_environments
    from sb3_hyper.hyper_ppo import HyperPPO

    register_environments()
    module.ALGOS[ALGORITHM] = HyperPPO


def _extend_hyperparams_opt(module: ModuleType) -> None:
    from sb3_hyper.zoo.search_space import convert_hyper_ppo_params, sample_hyper_ppo_params

    module.HYPERPARAMS_SAMPLER[ALGORITHM] = sample_hyper_ppo_params
    module.HYPERPARAMS_CONVERTER[ALGORITHM] = convert_hyper_ppo_params


def _extend_exp_manager(module: ModuleType) -> None:
    from sb3_hyper.zoo.experiment import extend_experiment_manager
    from sb3_hyper.zoo.pruning import AdaptationTrialEvalCallback

    # RL-Zoo looks the name up when a search begins.
    vars(module)["TrialEvalCallback"] = AdaptationTrialEvalCallback
    extend_experiment_manager(module.ExperimentManager, ALGORITHM)


# The tables are changed in place: modules such as rl_zoo3.train hold them under names of their own.
_EXTENSIONS: dict[str, Callable[[ModuleType], None]] = {
    "rl_zoo3.utils": _extend_utils,
    "rl_zoo3.hyperparams_opt": _extend_hyperparams_opt,
    "rl_zoo3.exp_manager": _extend_exp_manager,
}


def extend_module(module: ModuleType) -> None:
    """
    Extend one module of RL-Zoo; extending it again changes nothing.

    :param module: ``rl_zoo3.utils``, ``rl_zoo3.hyperparams_opt`` or ``rl_zoo3.exp_manager``, already executed
    :raises ValueError: for any other module
    """
    if module.__name__ not in _EXTENSIONS:
        raise ValueError(f"Got the module {module.__name__!r}; sb3_hyper extends {', '.join(_EXTENSIONS)} only.")
    _EXTENSIONS[module.__name__](module)


def register() -> None:
    """
    Make RL-Zoo know ``hyper_ppo`` and the environments of ``sb3_hyper``; calling it again changes nothing.

    :raises ModuleNotFoundError: if RL-Zoo is not installed (``pip install "sb3-hyper[zoo]"``)
    """
    for name in _EXTENSIONS:
        extend_module(importlib.import_module(name))
