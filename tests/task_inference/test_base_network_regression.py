"""BI: the distance of generated networks against the networks themselves, and who learns by it."""

import pytest
import torch as th

from sb3_hyper.task_inference import LatentSequences
from sb3_hyper.task_inference.base_network_regression import head_products

T, B = 3, 2


def written(layer, factors):
    """What a layer gets of factors ``(N, K + 1)``: ``(N, P)``; None of one that is the same for all latents."""
    if hasattr(layer, "generate"):
        parts = layer.generate(factors)
    elif hasattr(layer, "scale"):
        parts = (factors @ layer.scale, factors @ layer.shift)
    else:
        return None
    return th.cat([part.flatten(1) for part in parts], dim=1)


def layers(model):
    """Every layer of actor and critic, each once, with the trunk before it."""
    agent, seen = model.policy.agent, []
    for trunk, network in ((agent.trunk, agent.actor), (agent.critic_trunk or agent.trunk, agent.critic)):
        for layer in (*network.hidden_layers, network.output_layer):
            if not any(layer is other for other in seen):
                seen.append(layer)
                yield trunk, layer


def made(model, latents):
    """All parameters that the hypernetworks write for each latent, ``(T * B, P)``."""
    parts = [written(layer, trunk(latents.flatten(0, 1))) for trunk, layer in layers(model)]
    return th.cat([part for part in parts if part is not None], dim=1)


def size_of_heads(model):
    """Sum of the squares of all that factors are multiplied with, but for the constant."""
    parts = [written(layer, th.eye(trunk.output_dim)) for trunk, layer in layers(model)]
    return sum(part[:-1].square().sum() for part in parts if part is not None)


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"conditioning": "film"},
        {"sharing": "nothing"},
        {"sharing": "hidden_layers"},
        {"conditioned_layers": [-1]},
        {"normalize_latent": True},
        {"sharing": "hidden_layers", "conditioned_layers": [0]},
    ],
    ids=lambda kwargs: "-".join(map(str, kwargs.values())) or "default",
)
def test_distance_is_that_of_the_generated_parameters(make_model, scramble, kwargs):
    model = make_model("BIPlusPlusHNPolicy", policy_kwargs=kwargs)
    scramble(model.policy)
    objective = model.auxiliary.objective
    latents, target = th.randn(2, T, B, 6).unbind(0)
    latents.requires_grad_()
    found = objective.regression(latents, target)
    distance = (made(model, latents) - made(model, target)).square().sum(dim=1)
    size = size_of_heads(model).detach()
    th.testing.assert_close(found.flatten(), distance / size, rtol=1e-4, atol=1e-5)
    (by_hand,) = th.autograd.grad((distance / size).sum(), latents)
    found.sum().backward()
    th.testing.assert_close(latents.grad, by_hand, rtol=1e-3, atol=1e-5)
    assert all(parameter.grad is None for parameter in model.policy.parameters())


def test_inner_products_of_heads(make_model, scramble):
    model = make_model("BIPlusPlusHNPolicy", policy_kwargs={"net_arch": [3]})
    scramble(model.policy)
    actor, n_factors = model.policy.agent.actor, model.policy.agent.trunk.output_dim
    both = [actor.hidden_layers[0], actor.output_layer]
    rows = th.cat([written(layer, th.eye(n_factors)) for layer in both], dim=1)
    th.testing.assert_close(head_products(both, n_factors), rows @ rows.T)


def test_log_says_how_far_the_networks_are(make_model, scramble):
    model = make_model("BIPlusPlusHNPolicy", auxiliary_kwargs={"n_warmup_updates": 1})
    scramble(model.policy)
    objective = model.auxiliary.objective
    objective.finish_update()
    tasks = th.as_tensor(model.env.reset()["task"])[None].expand(T, -1, -1)
    target = objective.embedding(objective.encoding(tasks))
    resets = th.zeros(T, 4, dtype=th.bool)
    resets[0] = True
    exact = LatentSequences(target.detach(), resets, th.zeros_like(resets), tasks)
    assert objective.loss(exact).metrics["base_network_error"] == pytest.approx(0, abs=1e-6)
    mean = exact._replace(latents=target.detach().flatten(0, 1).mean(0).expand_as(target))
    assert objective.loss(mean).metrics["base_network_error"] == pytest.approx(1, rel=1e-4)


@pytest.mark.parametrize("conditioning", ["latent", "state_and_latent"])
def test_networks_that_nobody_writes(make_model, conditioning):
    with pytest.raises(ValueError, match="whose layers are generated.*EmbeddingRegression"):
        make_model("BIPlusPlusHNPolicy", policy_kwargs={"conditioning": conditioning})
