"""The defaults of RL-Zoo's experiments with ``hyper_ppo``: our YAML file, our vectorized environment."""

from __future__ import annotations

import functools
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv

from sb3_hyper.envs.vec_env import batched_vec_env
from sb3_hyper.zoo.privileged_task import show_task_where_needed

if TYPE_CHECKING:
    from rl_zoo3.exp_manager import ExperimentManager

_extended: WeakSet[type[ExperimentManager]] = WeakSet()


def default_hyperparameters() -> Path:
    """
    Where the default hyperparameters are: inside the installed package, or at the top of a checkout (editable install).

    :return: path of ``hyper_ppo.yml``
    :raises FileNotFoundError: if neither place has it
    """
    package = Path(__file__).parents[1]
    candidates = [folder / "hyperparams" / "hyper_ppo.yml" for folder in (package, package.parent)]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise FileNotFoundError(
        f"Found no default hyperparameters at {candidates[0]} or {candidates[1]}: the installation of sb3_hyper is "
        "incomplete. Install it again, or name a file with `-conf`."
    )


def _use_our_vec_env(experiment: ExperimentManager) -> None:
    if experiment.default_vec_env_cls is not None:
        return
    if experiment.vec_env_class is DummyVecEnv:
        experiment.vec_env_class = batched_vec_env  # type: ignore[assignment]
    elif experiment.vec_env_class is SubprocVecEnv:
        # A child forked from a MuJoCo thread pool deadlocks; spawn is safe, and the same on every platform.
        experiment.vec_env_kwargs.setdefault("start_method", "spawn")


def _read_schedule(experiment: ExperimentManager, hyperparams: dict[str, Any]) -> None:
    """Let an objective's learning rate be spelled as PPO's: ``lin_1e-3``."""
    auxiliary = hyperparams.get("auxiliary_kwargs")
    if isinstance(auxiliary, dict) and isinstance(auxiliary.get("learning_rate"), str):
        hyperparams["auxiliary_kwargs"] = experiment._preprocess_schedules(dict(auxiliary))


def _show_task_where_needed(manager: type[ExperimentManager], algorithm: str) -> None:
    original = manager.read_hyperparameters

    @functools.wraps(original)
    def read_hyperparameters(self: ExperimentManager) -> tuple[dict[str, Any], dict[str, Any]]:
        hyperparams, saved = original(self)
        if self.algo == algorithm:
            show_task_where_needed(self, hyperparams, saved)
            _read_schedule(self, hyperparams)
        return hyperparams, saved

    manager.read_hyperparameters = read_hyperparameters  # type: ignore[method-assign]


def extend_experiment_manager(manager: type[ExperimentManager], algorithm: str) -> None:
    """
    Give experiments with one algorithm the defaults of this package; all other experiments stay as they are.

    ``-conf`` and a ``default_vec_env_cls`` set by somebody else win over these defaults.

    :param manager: RL-Zoo's experiment manager, changed in place
    :param algorithm: the algorithm's name in RL-Zoo
    """
    if manager in _extended:
        return
    original = manager.__init__
    signature = inspect.signature(original)

    @functools.wraps(original)
    def initialize(self: ExperimentManager, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        if self.algo != algorithm:
            return
        if not signature.bind(self, *args, **kwargs).arguments.get("config"):
            self.config = str(default_hyperparameters())
        _use_our_vec_env(self)

    manager.__init__ = initialize  # type: ignore[method-assign]
    _show_task_where_needed(manager, algorithm)
    _extended.add(manager)
