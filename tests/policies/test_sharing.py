"""What actor and critic share behind the latent."""

import pytest
import torch as th

from sb3_hyper.policies import POLICIES

N = 5


def trained_by(loss, policy):
    """The names of the parameters that a loss has a gradient for."""
    names, parameters = zip(*policy.named_parameters(), strict=True)
    gradients = th.autograd.grad(loss, parameters, allow_unused=True, retain_graph=True)
    return {name for name, g in zip(names, gradients, strict=True) if g is not None and th.count_nonzero(g)}


@pytest.mark.parametrize("sharing", ["nothing", "trunk", "hidden_layers"])
def test_what_both_losses_train(sharing, make_policy, sample, scramble):
    policy = scramble(make_policy(POLICIES["RNNHNPolicy"], sharing=sharing, net_arch=[7, 6]))
    obs = policy.obs_to_tensor(sample(policy.observation_space, N))[0]
    encoded = policy.agent.encode(obs, th.zeros(N, policy.memory_dim), th.ones(1, N, dtype=th.bool))
    by_actor = trained_by(policy._distribution(encoded.actor).log_prob(th.zeros(N)).sum(), policy)
    by_critic = trained_by(policy.values(encoded.critic).sum(), policy)
    in_common = {name.split(".")[1] for name in by_actor & by_critic if "hidden_layers" not in name}
    assert in_common == {"features", "encoder", "to_latent"} | ({"trunk"} if sharing != "nothing" else set())
    assert any("hidden_layers" in name for name in by_actor & by_critic) == (sharing == "hidden_layers")
    assert ("agent.critic_trunk.layers.0.weight" in by_critic) == (sharing == "nothing")


def test_shared_hidden_layers_are_counted_and_optimised_once(make_policy):
    counts = {
        sharing: sum(p.numel() for p in make_policy(POLICIES["RNNHNPolicy"], sharing=sharing).parameters())
        for sharing in ("trunk", "hidden_layers")
    }
    policy = make_policy(POLICIES["RNNHNPolicy"], sharing="hidden_layers")
    hidden = sum(p.numel() for p in policy.agent.actor.hidden_layers.parameters())
    assert counts["trunk"] - counts["hidden_layers"] == hidden
    assert policy.agent.actor.hidden_layers is policy.agent.critic.hidden_layers
