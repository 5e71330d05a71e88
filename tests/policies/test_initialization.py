"""In the constructed policy, inside the algorithm, every layer of actor and critic starts as intended."""

import pytest
import torch as th
from gymnasium import spaces
from sb3_contrib import RecurrentPPO

from sb3_hyper.hyper_ppo import HyperPPO
from sb3_hyper.hypernetworks import HYPER_INITIALIZERS
from sb3_hyper.policies import POLICIES

HIDDEN_GAIN = 5 / 3


def layers(policy):
    """``(layer, gain)`` of both base networks."""
    actor_gain = 1.0 if isinstance(policy.action_space, spaces.Box) else 0.01
    for network, output_gain in ((policy.agent.actor, actor_gain), (policy.agent.critic, 1.0)):
        yield from ((layer, HIDDEN_GAIN) for layer in network.hidden_layers)
        yield network.output_layer, output_gain


def start_of(policy, layer):
    """``(n, outputs, inputs)`` and ``(n, outputs)``: weights and biases of what the layer is for several latents."""
    n_factors = policy.agent.trunk.output_dim - 1
    any_latent = policy.agent.trunk(th.randn(3, policy.agent.trunk.latent_dim))
    latents = {
        "BiasHyperInit": any_latent,
        "WeightHyperInit": th.cat((th.eye(n_factors), th.ones(n_factors, 1)), dim=1),
    }[policy.settings.initializer]
    if policy.agent.conditioning == "hypernetwork":
        return layer.generate(latents)
    if policy.agent.conditioning == "film":
        scale, shift = latents @ layer.scale, latents @ layer.shift
        return scale[:, :, None] * layer.linear.weight, scale * layer.linear.bias + shift
    return layer.weight[None], layer.bias[None]


def check_orthogonal(policy):
    for layer, gain in layers(policy):
        weights, biases = start_of(policy, layer)
        assert th.count_nonzero(biases) == 0
        gram = weights @ weights.mT if weights.shape[1] <= weights.shape[2] else weights.mT @ weights
        expected = gain**2 * th.eye(gram.shape[-1]).expand_as(gram)
        th.testing.assert_close(gram, expected, atol=1e-4 * gain**2, rtol=1e-4)


def test_every_policy_starts_with_orthogonal_base_layers(policy_class, make_policy):
    check_orthogonal(make_policy(policy_class))


@pytest.mark.parametrize("initializer", ["BiasHyperInit", "WeightHyperInit"])
def test_layers_are_orthogonal_for_every_action_space(make_policy, action_case, initializer):
    check_orthogonal(make_policy(POLICIES["RNNHNPolicy"], action_case, initializer=initializer))


@pytest.mark.parametrize("algorithm", [HyperPPO, RecurrentPPO])
@pytest.mark.parametrize("name", ["RNNPolicy", "RNNHNPolicy", "RNNFiLMPolicy", "SplAggerPolicy"])
def test_algorithms_leave_the_initialisation_alone(algorithm, name, make_env):
    check_orthogonal(algorithm(POLICIES[name], make_env(), n_steps=8, batch_size=8).policy)


def test_hyper_fan_in_survives_the_construction(make_policy):
    policy = make_policy(POLICIES["RNNHNPolicy"], size="M", initializer="HyperFanIn", normalize_latent=True)
    n_factors = policy.agent.trunk.output_dim - 1
    for layer, gain in layers(policy):
        weights, biases = layer.generate(th.eye(n_factors + 1))
        assert th.count_nonzero(weights[-1]) == th.count_nonzero(biases[-1]) == 0
        n_inputs = weights.shape[2]
        assert weights[:-1].var().item() == pytest.approx(gain**2 / (2 * n_factors * n_inputs), rel=0.1)
        assert weights[:-1].abs().max().item() == pytest.approx(
            gain * (3 / (2 * n_factors * n_inputs)) ** 0.5, rel=0.02
        )
    for linear in policy.agent.trunk.layers[::2]:
        assert th.count_nonzero(linear.bias) == 0


@pytest.mark.parametrize("name", HYPER_INITIALIZERS)
@pytest.mark.parametrize("base_initializer", ["orthogonal", "normc", "kaiming"])
def test_initialisers_reach_the_layers(name, base_initializer, make_policy, monkeypatch):
    """Every layer's start is what its initialiser wrote, untouched."""
    written = []
    fill = HYPER_INITIALIZERS[name].fill

    def record(self, weight, bias, gain):
        fill(self, weight, bias, gain)
        written.append((weight.mT.clone(), bias.clone(), gain))

    monkeypatch.setattr(HYPER_INITIALIZERS[name], "fill", record)
    names = {"initializer": name, "base_initializer": base_initializer}
    needs_normalized_latent = HYPER_INITIALIZERS[name].needs_normalized_latent
    policy = make_policy(POLICIES["RNNHNPolicy"], **names, normalize_latent=needs_normalized_latent)
    one_hot = th.eye(policy.agent.trunk.output_dim)
    for (layer, gain), (weight, bias, written_gain) in zip(layers(policy), written, strict=True):
        assert written_gain == pytest.approx(gain)
        generated = layer.generate(one_hot)
        th.testing.assert_close(generated, (weight, bias))


@pytest.mark.parametrize("name", ["RNNHNPolicy", "SplAggerPolicy", "RNNFiLMPolicy"])
def test_at_first_the_latent_does_not_matter(name, make_policy, sample):
    """Bias-HyperInit: one policy for all memories, and gradients that soon make it matter."""
    policy = make_policy(POLICIES[name])
    obs, _ = policy.obs_to_tensor(sample(policy.observation_space, 3))
    starts, memories = th.zeros(1, 3, dtype=th.bool), th.randn(2, 3, policy.memory_dim).abs()
    values, others = (policy.evaluate_values(obs, memory, starts) for memory in memories)
    th.testing.assert_close(values, others)
    for _ in range(2):
        policy.optimizer.zero_grad()
        (policy.evaluate_values(obs, memories[0], starts) - 1).square().sum().backward()
        policy.optimizer.step()
    values, others = (policy.evaluate_values(obs, memory, starts) for memory in memories)
    assert not th.allclose(values, others, atol=1e-7)
