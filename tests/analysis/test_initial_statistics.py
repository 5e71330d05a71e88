"""Statistics at initialisation: Bias-HyperInit is the plain network, the naive heads are not."""

import numpy as np
import pytest
import torch as th

from sb3_hyper.analysis import initial_statistics
from sb3_hyper.analysis.initialization import PLAIN, draw_network
from sb3_hyper.analysis.layer_statistics import layer_parameters
from sb3_hyper.hypernetworks import HYPER_INITIALIZERS, FiLMLinear, make_initializer
from sb3_hyper.hypernetworks.initializers import BASE_INITIALIZERS
from sb3_hyper.policies.sizes import SIZES

QUICK = {"n_seeds": 1, "n_latents": 4, "n_inputs": 64}


@pytest.fixture(scope="module")
def statistics():
    return initial_statistics("S", n_seeds=2)


def widths_of(size):
    return [SIZES[size].state_dim, *SIZES[size].pi, 5]


@pytest.mark.parametrize("base", BASE_INITIALIZERS)
@pytest.mark.parametrize("size", SIZES)
def test_bias_hyperinit_generates_a_0_for_any_latent_bit_for_bit(size, base):
    with th.random.fork_rng([]), th.no_grad():
        th.manual_seed(0)
        network, trunk = draw_network("BiasHyperInit", base, widths_of(size))
        factors = trunk(10 * th.randn(3, 24))
        for layer in [*network.hidden_layers, network.output_layer]:
            weights, biases = layer_parameters(layer, factors)
            a_0 = layer.weight[:, -1].t()
            assert a_0.abs().max() > 0
            assert all(th.equal(weight, a_0) for weight in weights) and not biases.any()


@pytest.mark.parametrize("size", [size for size in SIZES if size != "XXL"])
def test_bias_hyperinit_has_the_plain_networks_statistics_exactly(size):
    result = initial_statistics(size, initializers=("BiasHyperInit",), **QUICK)
    assert result.initializers == [PLAIN, "BiasHyperInit"]
    for name in ("weight_mean", "weight_std", "preactivation_mean", "preactivation_std"):
        plain, generated = getattr(result, name)
        assert plain.tolist() == generated.tolist() and len(plain) == 3


@pytest.mark.parametrize("base", BASE_INITIALIZERS)
def test_the_plain_network_is_what_the_base_initialiser_means(base):
    result = initial_statistics("L", base, initializers=("BiasHyperInit",), **QUICK)
    # Variance gain^2 / inputs in hidden layers; rows of norm 0.01 before the logits.
    np.testing.assert_allclose(result.weight_std[0], [5 / 3 / 256**0.5, 5 / 3 / 128**0.5, 0.01 / 128**0.5], rtol=0.1)
    assert result.preactivation_std[0, 0] == pytest.approx(5 / 3, rel=0.05)
    np.testing.assert_allclose(result.ratio_to_plain()[1], 1, rtol=0.1)


def test_naive_heads_blow_up_or_vanish(statistics):
    ratio = dict(zip(statistics.initializers, statistics.ratio_to_plain(), strict=True))
    assert set(ratio) == {PLAIN, *HYPER_INITIALIZERS}
    np.testing.assert_allclose(ratio["BiasHyperInit"], 1)
    for name in ("Kaiming", "Normc"):
        assert (ratio[name] > 4).all()
    assert (ratio["Orthogonal"][:2] < 0.5).all()
    assert (ratio["HyperFanIn"] > 0.5).all() and (ratio["HyperFanIn"] < 0.9).all()


def test_naive_heads_get_worse_with_the_width_of_the_layer(statistics):
    kaiming, orthogonal = (list(HYPER_INITIALIZERS).index(name) + 1 for name in ("Kaiming", "Orthogonal"))
    larger = initial_statistics("XL", n_seeds=1)
    # The heads know nothing of the 256 or 128 inputs that a unit sums over.
    assert larger.ratio_to_plain()[kaiming, 0] > 1.3 * statistics.ratio_to_plain()[kaiming, 0]
    assert larger.ratio_to_plain()[orthogonal, 0] < 0.7 * statistics.ratio_to_plain()[orthogonal, 0]


def test_small_latents_leave_only_what_has_a_constant():
    result = initial_statistics("XS", initializers=("BiasHyperInit", "Kaiming", "HyperFanIn"), latent_std=1e-3, **QUICK)
    exact, small, normalised = result.ratio_to_plain()[1:, 0]
    assert exact == 1 and small < 1 and 0.5 < normalised < 0.9


def test_table_and_json(statistics):
    table = statistics.table()
    assert all(name in table for name in [PLAIN, *HYPER_INITIALIZERS]) and "hidden 1 (128 → 64)" in table
    assert statistics.to_dict()["weight_std"] == statistics.weight_std.tolist()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": "SX"}, "Unknown size 'SX'"),
        ({"base_initializer": "orthogonl"}, "Did you mean 'orthogonal'"),
        ({"initializers": ("BiasHyperinit",)}, "Did you mean 'BiasHyperInit'"),
        ({"n_latents": 0}, "n_latents=0: wanted at least 1"),
        ({"n_seeds": 1.5}, "n_seeds=1.5: wanted at least 1, a whole number"),
        ({"n_actions": 0}, "n_actions=0: wanted at least 1"),
        ({"trunk_dim": 0}, "trunk_dim=0: wanted at least 1"),
        ({"n_inputs": 1, "n_latents": 1, "n_actions": 1}, "a standard deviation needs two states at least"),
        *(({"latent_std": std}, f"latent_std={std}: wanted a positive number") for std in (-1.0, 0.0, np.nan, np.inf)),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        initial_statistics(**{"size": "XS", **settings})


def test_the_fewest_numbers_give_statistics(recwarn):
    result = initial_statistics("XS", n_seeds=1, n_inputs=2, n_latents=1, n_actions=1)
    assert all(np.isfinite(getattr(result, name)).all() for name in ("weight_std", "preactivation_std"))
    assert np.isfinite(result.ratio_to_plain()).all() and not recwarn.list


@pytest.mark.parametrize("initializer", HYPER_INITIALIZERS)
def test_parameters_of_a_film_layer_do_what_the_layer_does(initializer):
    with th.random.fork_rng([]), th.no_grad():
        th.manual_seed(0)
        layer = FiLMLinear(4, 3, 2, 1.0, make_initializer(initializer))
        for parameter in layer.parameters():
            parameter.add_(th.randn_like(parameter))
        x, factors = th.randn(5, 3), th.randn(5, 4)
        weights, biases = layer_parameters(layer, factors)
        assert weights.shape == (5, 2, 3)
        th.testing.assert_close(th.einsum("noi,ni->no", weights, x) + biases, layer(x, factors))


def test_layers_that_generate_nothing():
    with pytest.raises(TypeError, match="wanted a generated, a FiLM or a plain linear layer"):
        layer_parameters(th.nn.Tanh(), th.ones(1, 2))
