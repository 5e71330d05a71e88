"""Statistics at initialisation of a policy's own base networks."""

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from torch import nn

from sb3_hyper.analysis import initial_statistics, policy_statistics
from sb3_hyper.analysis.initialization import PLAIN
from sb3_hyper.hypernetworks import HYPER_INITIALIZERS
from sb3_hyper.policies import POLICIES, PRIVILEGED_POLICIES, HyperActorCriticPolicy, RNNHNPolicy
from sb3_hyper.policies.settings import LAYER_OF_CONDITIONING, SHARINGS

QUICK = {"n_seeds": 1, "n_latents": 4, "n_inputs": 64}
SMALL = {"size": "XS", "encoder_dim": 8}
STATISTICS = ("weight_mean", "weight_std", "preactivation_mean", "preactivation_std")


class OwnPolicy(HyperActorCriticPolicy):
    """A policy of somebody else's: other layers, another activation, and a critic that is wider than the actor."""

    preset = {  # noqa: RUF012
        "net_arch": {"pi": [6], "vf": [7, 9]},
        "state_dim": 5,
        "trunk_dims": [4],
        "latent_dim": 3,
        "activation_fn": nn.ReLU,
        "generation": "episode",
    }


class MadePolicy(RNNHNPolicy):
    """Keeps what was built last."""

    built = None

    def _build(self, lr_schedule):
        super()._build(lr_schedule)
        type(self).built = self


@pytest.mark.parametrize("name", {**POLICIES, **PRIVILEGED_POLICIES})
def test_every_policy_that_generates_weights_has_statistics(name):
    policy = {**POLICIES, **PRIVILEGED_POLICIES}[name]
    conditioning = getattr(policy, "preset", {}).get("conditioning", "hypernetwork")
    if LAYER_OF_CONDITIONING[conditioning] == "plain":
        with pytest.raises(ValueError, match=f"{name} with conditioning='{conditioning}' generates no weights"):
            policy_statistics(policy, **QUICK, **SMALL)
        return
    result = policy_statistics(policy, initializers=("BiasHyperInit",), **QUICK, **SMALL)
    assert result.initializers == [PLAIN, "BiasHyperInit"] and result.title == f"{name}, actor, size XS"
    assert result.layers == ["hidden 1 (64 → 64)", "hidden 2 (64 → 32)", "output (32 → 5)"]
    # With orthogonal layers: one distribution, other draws.
    np.testing.assert_allclose(result.ratio_to_plain()[1], 1, rtol=0.15)


def test_the_actor_of_rnn_hn_is_the_one_that_is_measured_without_a_policy():
    ours, theirs = policy_statistics(RNNHNPolicy, n_seeds=2, size="S"), initial_statistics("S", n_seeds=2)
    assert (ours.layers, ours.initializers) == (theirs.layers, theirs.initializers)
    np.testing.assert_array_equal(ours.preactivation_std[0], theirs.preactivation_std[0])
    np.testing.assert_allclose(ours.preactivation_std, theirs.preactivation_std, rtol=0.3)


@pytest.mark.parametrize("conditioning", ["hypernetwork", "film"])
@pytest.mark.parametrize("sharing", SHARINGS)
@pytest.mark.parametrize("network", ["actor", "critic"])
def test_statistics_are_those_of_the_network_itself(network, sharing, conditioning):
    kwargs = {**SMALL, "sharing": sharing, "conditioning": conditioning}
    result = policy_statistics(MadePolicy, network, ("Kaiming",), 1, 2, 50, **kwargs)
    agent = MadePolicy.built.agent
    trunk = agent.critic_trunk if sharing == "nothing" and network == "critic" else agent.trunk
    generator = th.Generator().manual_seed(0)
    latents, states = th.randn(2, 24, generator=generator), th.randn(2, 50, 64, generator=generator)
    with th.no_grad():
        factors = trunk(latents).repeat_interleave(50, dim=0)
        x = states.flatten(0, 1)
        for layer in getattr(agent, network).hidden_layers:
            x = th.tanh(layer(x, factors))
        outputs = getattr(agent, network).output_layer(x, factors)
        direct = getattr(agent, network)(states.flatten(0, 1), factors)[0]
    th.testing.assert_close(outputs, direct)
    assert result.preactivation_std[1, -1] == pytest.approx(float(outputs.std()), rel=1e-4)
    assert result.preactivation_mean[1, -1] == pytest.approx(float(outputs.mean()), rel=1e-3, abs=1e-6)


def test_a_policy_of_ones_own():
    actor, critic = (policy_statistics(OwnPolicy, network, **QUICK) for network in ("actor", "critic"))
    assert actor.layers == ["hidden 1 (5 → 6)", "output (6 → 5)"] and actor.title == "OwnPolicy, actor"
    assert critic.layers == ["hidden 1 (5 → 7)", "hidden 2 (7 → 9)", "output (9 → 1)"]
    for result in (actor, critic):
        assert result.initializers == [PLAIN, *HYPER_INITIALIZERS]
        assert all(np.isfinite(getattr(result, name)).all() for name in STATISTICS)
    # Gain sqrt 2 of ReLU in orthogonal hidden layers; 0.01 before logits, 1 before the value.
    assert critic.weight_std[0, 0] == pytest.approx(2**0.5 / 7**0.5, rel=0.3)
    assert actor.preactivation_std[0, -1] < 0.05 < critic.preactivation_std[0, -1]
    assert actor.table().startswith("OwnPolicy, actor, base initialiser orthogonal")


def test_actions_decide_the_last_layer():
    box = policy_statistics(RNNHNPolicy, action_space=spaces.Box(-1.0, 1.0, (2,)), **QUICK, **SMALL)
    discrete = policy_statistics(RNNHNPolicy, action_space=spaces.Discrete(2), **QUICK, **SMALL)
    assert box.layers == discrete.layers and box.layers[-1] == "output (32 → 2)"
    np.testing.assert_allclose(box.preactivation_std[:2, -1], 100 * discrete.preactivation_std[:2, -1], rtol=0.05)


def test_the_callers_random_numbers_go_on():
    th.manual_seed(3)
    expected = th.rand(2)
    th.manual_seed(3)
    policy_statistics(RNNHNPolicy, **QUICK, **SMALL)
    th.testing.assert_close(th.rand(2), expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"network": "critik"}, "Did you mean 'critic'"),
        ({"initializers": ("Kaimin",)}, "Did you mean 'Kaiming'"),
        ({"initializer": "Kaiming"}, "a row for each initialiser: leave it out"),
        ({"latent_std": -1.0}, "latent_std=-1.0: wanted a positive number"),
        ({"n_inputs": 1, "n_latents": 1}, "a standard deviation needs two states"),
        ({"size": "SX"}, "Unknown size 'SX'"),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        policy_statistics(RNNHNPolicy, **{**SMALL, **settings})
