"""Spaces to build policies for, and small policies."""

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.utils import ConstantSchedule

from sb3_hyper.envs.action_encoding import ActionEncoder
from sb3_hyper.envs.rl2_observation import rl2_observation_space
from sb3_hyper.policies import POLICIES, PRIVILEGED_POLICIES
from sb3_hyper.policies.features import is_trial_space

FLAT, IMAGE = spaces.Box(-1, 1, (3,)), spaces.Box(0, 255, (3, 36, 36), np.uint8)
ACTIONS = {
    "discrete": spaces.Discrete(4),
    "box": spaces.Box(-1, 1, (2,)),
    "box-matrix": spaces.Box(-1, 1, (2, 3)),
    "multi-discrete": spaces.MultiDiscrete([3, 2]),
    "multi-binary": spaces.MultiBinary(3),
}
STATES = {
    "flat": FLAT,
    "image": IMAGE,
    "discrete": spaces.Discrete(5),
    "multi-discrete": spaces.MultiDiscrete([3, 2]),
    "multi-binary": spaces.MultiBinary(4),
}


def trial_space(state_space, action_space, full_transitions=True, task_space=None):
    encoded_actions = ActionEncoder(action_space, np).space
    return rl2_observation_space(state_space, encoded_actions, full_transitions, task_space)


CASES = {
    **{f"{name}-state": (state, ACTIONS["discrete"]) for name, state in STATES.items()},
    "dict-state": (spaces.Dict(vector=FLAT, image=IMAGE, number=spaces.Discrete(5)), ACTIONS["discrete"]),
    **{f"trial-{name}": (trial_space(FLAT, action), action) for name, action in ACTIONS.items()},
    **{f"trial-{n}-state": (trial_space(state, ACTIONS["box"]), ACTIONS["box"]) for n, state in STATES.items()},
    "trial-without-previous-state": (trial_space(FLAT, ACTIONS["box"], full_transitions=False), ACTIONS["box"]),
    "trial-with-task": (trial_space(FLAT, ACTIONS["discrete"], task_space=FLAT), ACTIONS["discrete"]),
}
TRIAL = CASES["trial-discrete"]
OPTIONS = [
    {"conditioned_layers": [-1], "trunk_dims": []},
    {"conditioned_layers": [0, 2], "conditioning": "film"},
    {"sharing": "nothing"},
    {"sharing": "hidden_layers", "net_arch": [7, 5]},
    {"sharing": "nothing", "conditioning": "state_and_latent", "normalize_latent": True},
    {"generation": "episode"},
    {"generation": "trial", "latent": "gaussian"},
    {"generation": "episode", "latent": "gaussian_product", "conditioning": "latent"},
]


class SampledEnv(gym.Env):
    """Observations are samples of their space, rewards are random, episodes have five steps."""

    def __init__(self, observation_space, action_space):
        self.observation_space, self.action_space = observation_space, action_space

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        self.n_steps = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        assert action in self.action_space
        self.n_steps += 1
        return self.observation_space.sample(), float(self.np_random.normal()), self.n_steps == 5, False, {}


@pytest.fixture(params=CASES)
def case(request):
    """Every pair of observation and action space."""
    return CASES[request.param]


@pytest.fixture(params=[name for name in CASES if name.startswith("trial")])
def trial_case(request):
    """Every pair of spaces that is a trial's."""
    return CASES[request.param]


@pytest.fixture(params=ACTIONS)
def action_case(request):
    """Every kind of action."""
    return CASES[f"trial-{request.param}"]


EVERY_POLICY = {**POLICIES, **PRIVILEGED_POLICIES}


def show_task(policy_class, case):
    """The spaces, with the task for a policy that sees it."""
    observation_space, action_space = case
    if policy_class not in PRIVILEGED_POLICIES.values() or "task" in getattr(observation_space, "spaces", {}):
        return case
    if not is_trial_space(observation_space):
        pytest.skip("observations that are no trial's show no task")
    return spaces.Dict({**observation_space.spaces, "task": FLAT}), action_space


@pytest.fixture(params=EVERY_POLICY)
def policy_class(request):
    """Every policy."""
    return EVERY_POLICY[request.param]


@pytest.fixture(params=OPTIONS, ids=lambda option: "-".join(map(str, option.values())))
def option(request):
    """Policy keywords that change the hypernetwork."""
    return request.param


@pytest.fixture
def make_policy():
    """``make(policy_class, spaces, **policy_kwargs)``, small."""

    def make(policy_class, case=TRIAL, **kwargs):
        th.manual_seed(0)
        defaults = {"size": "XS", "encoder_dim": 8}
        return policy_class(*show_task(policy_class, case), ConstantSchedule(1e-3), **{**defaults, **kwargs})

    return make


@pytest.fixture
def make_env():
    """``make(spaces, policy_class)``: an environment of random observations and rewards that suits the policy."""
    return lambda case=TRIAL, policy_class=None: SampledEnv(*show_task(policy_class, case))


@pytest.fixture
def sample():
    """``sample(space, n)``: n observations or actions, batched as a VecEnv batches them."""

    def sample(space, n):
        space.seed(0)
        drawn = [space.sample() for _ in range(n)]
        if isinstance(space, spaces.Dict):
            return {key: np.stack([obs[key] for obs in drawn]) for key in space.spaces}
        return np.stack(drawn)

    return sample


@pytest.fixture(params=[False, True])
def make_exploring_policy(request, action_case, make_policy, scramble):
    """``make(policy_class, n)``: for every kind of action, without and with state-dependent noise for n rows."""
    use_sde = request.param
    if use_sde and not isinstance(action_case[1], spaces.Box):
        pytest.skip("state-dependent exploration is for Box actions")

    def make(policy_class, n):
        policy = scramble(make_policy(policy_class, action_case, use_sde=use_sde))
        if use_sde:
            policy.reset_noise(n)
        return policy

    return make
