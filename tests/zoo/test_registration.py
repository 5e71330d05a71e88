"""What the plug-in adds to RL-Zoo, and that it changes nothing else."""

import copy
import json
import math
import subprocess
import sys
from typing import Any

import pytest
import rl_zoo3.exp_manager
import rl_zoo3.hyperparams_opt
import rl_zoo3.utils

from sb3_hyper import HyperPPO
from sb3_hyper.envs import META_WORLD_IDS, TASK_DISTRIBUTIONS
from sb3_hyper.zoo import extend_module, register

# Prints everything that RL-Zoo decides by its tables: as it is installed here, or (argument "bare") without the hook.
INSPECT = """
import json, sys
from argparse import Namespace
if sys.argv[1] == "bare":
    sys.meta_path[:] = [finder for finder in sys.meta_path if "sb3_hyper" not in type(finder).__module__]
import rl_zoo3.train, rl_zoo3.enjoy
import gymnasium, rl_zoo3.hyperparams_opt as opt
from rl_zoo3.exp_manager import ExperimentManager
ENVIRONMENTS = ("CartPole-v1", "Pendulum-v1")
def name(thing):
    return f"{thing.__module__}.{thing.__qualname__}" if callable(thing) else str(thing)
def experiment(algo, env_id, vec_env):
    manager = ExperimentManager(Namespace(), algo, env_id, "logs", vec_env_type=vec_env)
    return {key: repr(value) for key, value in sorted(vars(manager).items()) if key != "args"}
algos = [algo for algo in rl_zoo3.train.ALGOS if algo != "hyper_ppo"]
print(json.dumps({
    "algos": {key: name(value) for key, value in rl_zoo3.train.ALGOS.items()},
    "same table": rl_zoo3.train.ALGOS is rl_zoo3.enjoy.ALGOS,
    "samplers": {key: name(value) for key, value in opt.HYPERPARAMS_SAMPLER.items()},
    "converters": {key: name(value) for key, value in opt.HYPERPARAMS_CONVERTER.items()},
    "environments": {key: name(spec.entry_point) for key, spec in gymnasium.registry.items()},
    "vec_env": repr(ExperimentManager.default_vec_env_cls),
    "experiments": [experiment(a, e, v) for a in algos for e in ENVIRONMENTS for v in ("dummy", "subproc")],
    "loader": type(rl_zoo3.utils.__loader__).__name__,
}))
"""


def inspect_zoo(mode: str) -> dict[str, Any]:
    result = subprocess.run([sys.executable, "-c", INSPECT, mode], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    answer: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return answer


def test_hook_adds_our_entries_and_changes_no_other() -> None:
    bare, extended = inspect_zoo("bare"), inspect_zoo("hooked")
    assert extended["algos"].pop("hyper_ppo") == f"{HyperPPO.__module__}.HyperPPO"
    for table in ("samplers", "converters"):
        assert extended[table].pop("hyper_ppo").startswith("sb3_hyper.zoo.")
    for env_id in (*TASK_DISTRIBUTIONS, *META_WORLD_IDS):
        assert extended["environments"].pop(env_id).startswith("sb3_hyper.envs.")
    assert bare == extended


def test_registering_again_changes_nothing() -> None:
    before = copy.copy(rl_zoo3.utils.ALGOS)
    initialize = rl_zoo3.exp_manager.ExperimentManager.__init__
    register()
    assert before == rl_zoo3.utils.ALGOS
    assert rl_zoo3.exp_manager.ExperimentManager.__init__ is initialize


def test_extending_any_other_module_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'math'.*rl_zoo3\.utils"):
        extend_module(math)
