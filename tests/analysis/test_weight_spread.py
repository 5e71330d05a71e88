"""Spread of generated weights: against the weights themselves, and the factors against a trial played by hand."""

from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch as th

from sb3_hyper import HyperPPO
from sb3_hyper.analysis import to_json, weight_spread
from sb3_hyper.analysis.networks import heads_of
from sb3_hyper.analysis.trial_factors import TrialFactors, play_trials
from sb3_hyper.analysis.weight_spread import gram_matrix, spread_of_factors
from sb3_hyper.evaluation import evaluate_adaptation
from sb3_hyper.hypernetworks import FiLMLinear, GeneratedLinear

TRAINED = Path(__file__).parents[2] / "trained_agents" / "hyper_ppo" / "TMazeLS-v0_1" / "TMazeLS-v0.zip"


def materialised(agent, factors, networks=("actor", "critic")):
    """All generated parameters, a row for each trial: ``(N, K + 1) -> (N, P)``."""
    parts = []
    for network in (getattr(agent, name) for name in networks):
        for layer in [*network.hidden_layers, network.output_layer]:
            if isinstance(layer, GeneratedLinear):
                parts += [part.flatten(1) for part in layer.generate(factors)]
            elif isinstance(layer, FiLMLinear):
                parts += [factors @ layer.scale, factors @ layer.shift]
    return th.cat(parts, dim=1).detach().double().numpy()


@pytest.mark.parametrize("policy", ["RNNHNPolicy", "RNNFiLMPolicy"])
@pytest.mark.parametrize("networks", [("actor",), ("critic",), ("actor", "critic")])
def test_components_are_those_of_the_weights_themselves(make_model, make_env, policy, networks):
    model = make_model(policy)
    result = weight_spread(model, make_env(3), 7, (0, -1), networks)
    trials = play_trials(model, make_env(3), 7, (0, -1), seed=0)
    for index, factors in enumerate(trials.factors):
        weights = materialised(model.policy.agent, th.as_tensor(factors).float(), networks)
        left, singular, _ = np.linalg.svd(weights - weights.mean(axis=0), full_matrices=False)
        assert result.n_parameters == weights.shape[1]
        np.testing.assert_allclose(result.singular_values[index][:6], singular[:6], rtol=1e-3, atol=1e-4)
        assert result.mean_norm[index] == pytest.approx(np.linalg.norm(weights.mean(axis=0)), rel=1e-5)
        np.testing.assert_allclose(np.abs(result.scores[index]), np.abs(left * singular)[:, :2], atol=2e-3)
        assert result.explained()[index].sum() == pytest.approx(1)


@pytest.mark.parametrize("network", ["actor", "critic"])
def test_networks_that_share_nothing_are_heard_one_by_one(make_model, make_env, network):
    model = make_model("RNNHNPolicy", policy_kwargs={"sharing": "nothing"})
    agent, factors = model.policy.agent, []
    trunk = agent.trunk if network == "actor" else agent.critic_trunk
    handle = trunk.register_forward_hook(lambda module, inputs, output: factors.append(output))
    result = weight_spread(model, make_env(2), 2, (3, 5), (network,))
    handle.remove()
    for index, step in enumerate((3, 5)):
        weights = materialised(agent, factors[step], (network,))
        singular = np.linalg.svd(weights - weights.mean(axis=0), compute_uv=False)
        assert result.n_parameters == weights.shape[1] and singular[0] > 1e-3
        np.testing.assert_allclose(result.singular_values[index][:1], singular[:1], rtol=1e-3)
    with pytest.raises(ValueError, match=r"analyse one after the other, networks=\('actor',\)"):
        weight_spread(model, make_env(2), 2)


def test_the_gram_matrix_is_that_of_the_heads(make_model):
    agent = make_model().policy.agent
    layers = [*agent.actor.hidden_layers, agent.actor.output_layer]
    heads = th.cat([head for layer in layers for head in heads_of(layer)], dim=1).detach().double()
    gram, n_parameters = gram_matrix([agent.actor])
    th.testing.assert_close(gram, heads @ heads.t())
    assert n_parameters == heads.shape[1] == sum(layer.weight[:, 0].numel() + len(layer.bias[0]) for layer in layers)


def test_factors_are_those_of_a_trial_played_by_hand(make_model, make_env):
    model, steps = make_model("SplAggerPolicy"), (3, 0, -1)
    trials = play_trials(model, make_env(2), 4, steps, seed=5)
    env, agent = make_env(2), model.policy.agent
    env.seed(5)
    obs, memory = env.reset(), th.zeros(2, model.policy.memory_dim)
    starts, trial, played = np.ones(2, bool), [], []
    while len(played) < 2:
        tensors = {key: th.as_tensor(value) for key, value in obs.items()}
        with th.no_grad():
            actions, _, _, next_memory = model.policy.act(tensors, memory, th.as_tensor(starts), deterministic=True)
            trial.append(agent.encode(tensors, memory, th.as_tensor(starts)[None]).actor.factors.numpy())
        memory = next_memory
        obs, _, starts, infos = env.step(actions.numpy())
        if starts.all():
            played.append(([info["task"] for info in infos], trial))
            trial = []
    for number in range(2):
        tasks, factors = played[number]
        for env_index in range(2):
            row = 2 * env_index + number
            np.testing.assert_array_equal(trials.tasks[row], tasks[env_index])
            expected = [factors[step][env_index] for step in steps]
            np.testing.assert_allclose(trials.factors[:, row], expected, atol=1e-5)
    assert trials.mean_return == evaluate_adaptation(model, make_env(2), 4, seed=5).trial.mean


def test_tasks_get_networks_of_their_own_once_the_cue_is_seen(make_env):
    model = HyperPPO.load(TRAINED, device="cpu")
    result = weight_spread(model, make_env(8, corridor_length=12), 16, (0, 3, -1))
    task = result.tasks[:, 0]
    assert set(task) == {-1.0, 1.0}
    before, after, last = (scores[:, 0] for scores in result.scores)
    assert np.ptp(before) < 0.1 * np.ptp(after)
    for scores in (after, last):
        assert abs(np.corrcoef(scores, task)[0, 1]) > 0.99
    assert (result.explained()[1:, 0] > 0.9).all()
    assert "last" in result.table() and "16 trials" in result.table()


def test_bias_hyperinit_starts_without_spread(make_model, make_env):
    result = weight_spread(make_model(scrambled=False), make_env(), 4)
    assert result.singular_values.max() == 0 and not result.explained().any() and result.mean_norm[0] > 1
    assert result.scores.shape == (1, 4, 2)


def test_an_environment_by_its_id_and_hooks_that_go(make_model, make_env):
    model = make_model(env=make_env(env_id="GridNavi-v0"))
    result = weight_spread(model, "GridNavi-v0", 6)
    assert result.environment == "GridNavi-v0" and result.tasks.shape == (6, 2)
    assert not model.policy.agent.trunk._forward_hooks


@pytest.mark.parametrize("policy", ["RNNPolicy", "RNNSPolicy"])
def test_policies_that_generate_nothing(make_model, make_env, policy):
    with pytest.raises(ValueError, match=r"conditioning='.*' generates no weights"):
        weight_spread(make_model(policy), make_env(), 4)


@pytest.mark.parametrize(
    ("n_trials", "steps", "message"),
    [
        (1, (-1,), "n_trials=1: wanted at least 2"),
        (2, (), "wanted different whole numbers"),
        (2, (-2,), "wanted different whole numbers"),
        (2, (0, 0), "wanted different whole numbers"),
        (2, (0.5,), r"steps=\[0.5\]: wanted different whole numbers"),
        (2, (16,), "A trial ended after 16 steps: there is no step 16"),
    ],
)
def test_wrong_settings(make_model, make_env, n_trials, steps, message):
    model = make_model()
    with pytest.raises(ValueError, match=message):
        weight_spread(model, make_env(), n_trials, steps)
    assert not model.policy.agent.trunk._forward_hooks


@pytest.mark.parametrize(
    ("networks", "message"),
    [
        (("aktor",), "Unknown network 'aktor'. Did you mean 'actor'"),
        ("actor", r"networks='actor': wanted .* for example networks=\('actor',\)"),
        ((), r"networks=\(\): wanted one or both"),
    ],
)
def test_wrong_networks(make_model, make_env, networks, message):
    with pytest.raises(ValueError, match=message):
        weight_spread(make_model(), make_env(), 4, networks=networks)


def test_steps_of_numpy_are_written_down_too(make_model, make_env):
    result = weight_spread(make_model(), make_env(), 2, list(np.array([0, 3])))
    assert to_json([result]) and result.steps == [0, 3]


def test_environments_without_tasks(make_model):
    model = make_model(env=gym.make("CartPole-v1"))
    with pytest.raises(ValueError, match=r"reports no info\['task'\]"):
        weight_spread(model, "CartPole-v1", 2)


def test_ranks_are_found_without_the_weights():
    """Factors on a line give one component, whatever the heads."""
    gram = th.eye(3, dtype=th.float64)
    line = np.linspace([0.0, 0.0, 1.0], [1.0, 2.0, 1.0], 5)
    trials = TrialFactors("env", "policy", 0.0, [-1], np.zeros((5, 1)), line[None])
    result = spread_of_factors(trials, gram, 9)
    np.testing.assert_allclose(result.singular_values[0], [np.linalg.norm(line - line.mean(axis=0)), 0, 0], atol=1e-12)
