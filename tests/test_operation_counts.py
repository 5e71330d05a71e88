"""No slow path by accident: how many operations a step of acting, a step of an environment and a minibatch take."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch as th
from stable_baselines3.common.callbacks import CallbackList
from stable_baselines3.common.logger import Logger
from torch.utils._python_dispatch import TorchDispatchMode

from sb3_hyper import HyperPPO
from sb3_hyper.envs import GridNavi, PlanningGame, TMazeLS, TMazeOrder, TrialVecEnv
from sb3_hyper.policies import POLICIES

pytestmark = pytest.mark.usefixtures("one_thread")

SLACK = 1.05
"""Versions of PyTorch make a few operations more or less of the same line."""

OPERATIONS = {
    # policy: one step of acting, a minibatch of 40 steps, one more step of a minibatch
    "HyperActorCriticPolicy": (42, 715, 10),
    "RNNPolicy": (31, 638, 10),
    "RNNSPolicy": (34, 653, 10),
    "RNNHNPolicy": (42, 715, 10),
    "RNNFiLMPolicy": (42, 731, 10),
    "LSTMHNPolicy": (52, 920, 15),
    "LSTMInvInitPolicy": (52, 920, 15),
    "LRUPolicy": (60, 410, 1),
    "MinGRUPolicy": (42, 361, 1),
    "TransformerPolicy": (95, 404, 0),
    "SplAggerLRUPolicy": (65, 489, 1),
    "SplAggerMinGRUPolicy": (47, 440, 1),
    "SplAggerPolicy": (47, 794, 11),
    "SplAggerMeanPolicy": (49, 803, 11),
    "SplAggerMeanMaxPolicy": (55, 885, 11),
    "SplAggerSoftmaxPolicy": (71, 871, 11),
    "SplAggerWeightedMeanPolicy": (53, 808, 11),
    "SplAggerWeightedSoftmaxPolicy": (71, 871, 11),
    "SplAggerNoRNNPolicy": (43, 363, 1),
    "SplAggerNoSplitPolicy": (47, 794, 11),
    "AMRLPolicy": (47, 866, 11),
    "AMRLNoRNNPolicy": (43, 435, 1),
    "MaxPolicy": (43, 363, 1),
    "MaxSTPolicy": (43, 435, 1),
    "CNPPolicy": (45, 372, 1),
    "PEARLPolicy": (57, 410, 1),
    "SumPolicy": (41, 356, 1),
    "WeightedMeanPolicy": (49, 377, 1),
    "SoftmaxPolicy": (67, 440, 1),
    "TINaivePolicy": (34, 453, 6),
    "TINaiveHNPolicy": (42, 515, 6),
    "TINaiveFiLMPolicy": (42, 531, 6),
    "TIPolicy": (34, 453, 6),
    "TIPlusPlusPolicy": (34, 453, 6),
    "TIHNPolicy": (42, 515, 6),
    "TIPlusPlusHNPolicy": (42, 515, 6),
    "TIPlusPlusFiLMPolicy": (42, 531, 6),
    "BIPlusPlusHNPolicy": (42, 515, 6),
    "VIPolicy": (35, 454, 6),
    "VIHNPolicy": (43, 516, 6),
    "VIFiLMPolicy": (43, 532, 6),
    "PEARLVIPolicy": (57, 314, 1),
}
"""Measured; where a change makes fewer, lower them."""

CALLS_OF_A_STEP = 800
"""Calls of Python that one step of collecting may take, with an eighth of those at the rollout's beginning and end."""


class CountedOperations(TorchDispatchMode):
    """Counts what PyTorch computes: every operation that is more than a view."""

    def __init__(self):
        super().__init__()
        self.number = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.number += not func.is_view
        return func(*args, **(kwargs or {}))


@contextmanager
def counted_calls() -> Iterator[list[int]]:
    """Counts the calls of functions, in Python and from Python."""
    calls = [0]

    def note(_frame, event, _argument):
        calls[0] += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield calls
    finally:
        sys.setprofile(before)


def make_model(policy="SplAggerPolicy", n_envs=4, n_steps=8, task_distribution=TMazeLS):
    env = TrialVecEnv(task_distribution(), n_envs)
    shape = {"n_steps": n_steps, "batch_size": n_steps * n_envs}
    model = HyperPPO(policy, env, **shape, normalize_reward=True, policy_kwargs={"size": "XS"}, seed=0, device="cpu")
    model.set_logger(Logger(None, []))
    model._setup_learn(1)
    return model


def collect(model):
    callback = CallbackList([])
    callback.init_callback(model)
    model.collect_rollouts(model.env, callback, model.rollout_buffer, model.n_steps)


def acting_operations(policy, n_envs):
    model = make_model(policy, n_envs)
    obs = model.rollout_buffer.write_observation(model._last_obs)
    with th.no_grad():
        act = model.policy.make_act()
        memory, goes_on = model._last_memory, th.zeros(n_envs, dtype=th.bool)
        noise = model.policy.sample_noise(memory)
        act(obs, memory, goes_on, noise)  # a state's first time takes more
        with CountedOperations() as operations:
            act(obs, memory, goes_on, noise)
    return operations.number


def minibatch_operations(policy, n_envs, n_steps):
    model = make_model(policy, n_envs, n_steps)
    collect(model)
    model.train()  # the first step of an optimizer also makes its state
    with CountedOperations() as operations:
        model._train_epoch(0.1, None)
    return operations.number


def collection_calls(task_distribution, n_envs, n_steps):
    model = make_model(n_envs=n_envs, n_steps=n_steps, task_distribution=task_distribution)
    collect(model)
    with counted_calls() as calls:
        collect(model)
    return calls[0]


def test_every_policy_has_its_numbers():
    assert OPERATIONS.keys() == POLICIES.keys()


@pytest.mark.parametrize("policy", POLICIES)
def test_acting_takes_no_more_operations_than_before_whatever_the_number_of_environments(policy):
    operations = acting_operations(policy, 4)
    assert operations <= SLACK * OPERATIONS[policy][0]
    assert acting_operations(policy, 64) == operations


@pytest.mark.parametrize("policy", POLICIES)
def test_a_minibatch_takes_no_more_operations_than_before(policy):
    _, at_40_steps, another_step = OPERATIONS[policy]
    operations = minibatch_operations(policy, 4, 40)
    assert operations <= SLACK * at_40_steps
    assert minibatch_operations(policy, 4, 80) - operations <= 40 * SLACK * another_step


def test_more_sequences_only_cost_chunks_of_the_contraction():
    few, many = (minibatch_operations("SplAggerPolicy", n_envs, 40) for n_envs in (4, 16))
    # 14 a chunk of 320 rows, forward and backward, for the three layers of two networks
    assert many <= few + 14


@pytest.mark.parametrize("task_distribution", [TMazeLS, TMazeOrder, GridNavi, PlanningGame])
def test_collecting_takes_as_many_calls_for_many_environments_as_for_few(task_distribution):
    # In these steps no trial ends: ends cost each environment calls, for its info.
    few, many = (collection_calls(task_distribution, n_envs, 8) for n_envs in (4, 64))
    # A loop over environments would take 60 more a step; states that are seen first take some.
    assert many - few < 120
    assert few <= CALLS_OF_A_STEP * 8


def test_a_loop_over_environments_is_counted():
    with counted_calls() as few:
        [len([]) for _ in range(4)]
    with counted_calls() as many:
        [len([]) for _ in range(64)]
    assert many[0] - few[0] == 60
