"""Initialisers: the layer that is generated starts as the base layer should (Beck et al. 2022; Chang et al. 2020)."""

import math

import pytest
import torch as th
from torch import nn

from sb3_hyper.hypernetworks import HYPER_INITIALIZERS, BaseNetwork, FiLMLinear, GeneratedLinear, make_initializer
from sb3_hyper.hypernetworks.initializers import BASE_INITIALIZERS

K, GAIN = 25, 5 / 3
SHAPES = [(64, 64), (64, 32), (32, 64), (10, 1)]
every_base = pytest.mark.parametrize("base", BASE_INITIALIZERS)
every_shape = pytest.mark.parametrize("shape", SHAPES)
naive = pytest.mark.parametrize("name", ["Orthogonal", "Kaiming", "Normc"])


def make_layer(name, shape, base="orthogonal"):
    th.manual_seed(0)
    return GeneratedLinear(K + 1, *shape, GAIN, make_initializer(name, base))


def make_film(name, shape, base="orthogonal"):
    th.manual_seed(0)
    return FiLMLinear(K + 1, *shape, GAIN, make_initializer(name, base))


FILM_SCALES = {"BiasHyperInit": (0.0, 1.0), "WeightHyperInit": (1.0, 0.0), "BothHyperInit": (0.5, 0.5)}
"""The scale's heads of the factors, and its constant."""


def heads(layer):
    """A_1 … A_K and A_0, ``(K + 1, outputs, inputs)``, and the same of the bias, ``(K + 1, outputs)``."""
    return layer.generate(th.eye(K + 1))


def factors_of(h):
    return th.cat((h, th.ones(len(h), 1)), dim=1)


def check_base_layer(weight, base, gain):
    """``(outputs, inputs)``: is it what the base initialiser writes?"""
    n_outputs, n_inputs = weight.shape
    if base == "orthogonal":
        gram = weight @ weight.t() if n_outputs <= n_inputs else weight.t() @ weight
        th.testing.assert_close(gram, gain**2 * th.eye(len(gram)), atol=1e-4, rtol=1e-4)
    elif base == "normc":
        th.testing.assert_close(weight.norm(dim=1), th.full((n_outputs,), gain))
    else:
        assert weight.abs().max() <= gain * math.sqrt(3 / n_inputs)
        assert weight.var().item() == pytest.approx(gain**2 / n_inputs, rel=4 / math.sqrt(weight.numel()))


@every_base
@every_shape
def test_bias_hyper_init_generates_the_base_layer_for_every_latent(base, shape):
    weights, biases = make_layer("BiasHyperInit", shape, base).generate(factors_of(100 * th.randn(5, K)))
    assert th.count_nonzero(biases) == 0
    for weight in weights:
        assert th.equal(weight, weights[0])
        check_base_layer(weight, base, GAIN)


@every_base
@every_shape
def test_weight_hyper_init_generates_a_base_layer_for_every_one_hot_latent(base, shape):
    weights, biases = make_layer("WeightHyperInit", shape, base).generate(factors_of(th.eye(K)))
    assert th.count_nonzero(biases) == 0
    assert not th.allclose(weights[0], weights[1])
    for weight in weights:
        check_base_layer(weight, base, GAIN)


@every_base
@every_shape
def test_both_hyper_init_is_half_of_each(base, shape):
    layer = make_layer("BothHyperInit", shape, base)
    weights, biases = heads(layer)
    assert th.count_nonzero(biases) == 0
    for weight in weights:
        check_base_layer(2 * weight, base, GAIN)
    assert not th.allclose(weights[0], weights[-1])


def test_hyper_fan_in_has_the_variances_of_the_paper():
    weights, biases = heads(make_layer("HyperFanIn", (64, 64)))
    assert th.count_nonzero(weights[-1]) == th.count_nonzero(biases[-1]) == 0
    weight, bias = weights[:-1], biases[:-1]
    assert weight.var().item() == pytest.approx(GAIN**2 / (2 * K * 64), rel=0.02)
    assert bias.var().item() == pytest.approx(GAIN**2 / (2 * K), rel=0.1)
    # Uniform: a normal variable would exceed this bound.
    assert weight.abs().max() <= GAIN * math.sqrt(3 / (2 * K * 64))
    assert bias.abs().max() <= GAIN * math.sqrt(3 / (2 * K))


def test_hyper_fan_in_gives_outputs_the_right_variance_for_a_unit_latent():
    """Half of gain^2 from the weights (inputs of unit variance), half from the bias; averaged over initialisations."""
    outputs = []
    for seed in range(40):
        th.manual_seed(seed)
        layer = GeneratedLinear(K + 1, 64, 64, GAIN, make_initializer("HyperFanIn"))
        outputs.append(layer(th.randn(20, 64), factors_of(th.randn(20, K))))
    assert th.stack(outputs).var().item() == pytest.approx(GAIN**2, rel=0.1)


def test_hyper_fan_in_initialises_the_trunk():
    linear = nn.Linear(400, 100)
    make_initializer("HyperFanIn").trunk(linear)
    assert linear.weight.var().item() == pytest.approx(1 / 400, rel=0.05)
    assert th.count_nonzero(linear.bias) == 0


@naive
def test_naive_heads_have_no_constant(name):
    """One linear layer from the latent to all entries, initialised as if they were features."""
    for generated in heads(make_layer(name, (32, 16))):
        assert th.count_nonzero(generated[-1]) == 0
        # (K, entries) -> (entries, K)
        check_base_layer(generated[:-1].flatten(1).t(), name.lower(), GAIN)


@pytest.mark.parametrize("name", HYPER_INITIALIZERS)
@every_base
@every_shape
def test_film_under_every_initialiser(name, base, shape):
    """The ordinary layer is initialised as ever, and scale and shift are what the initialiser promises."""
    layer = make_film(name, shape, base)
    check_base_layer(layer.linear.weight, base, GAIN)
    assert th.count_nonzero(layer.linear.bias) == 0
    if name in FILM_SCALES:
        factors, constant = FILM_SCALES[name]
        assert th.equal(layer.scale[:-1], th.full((K, shape[1]), factors))
        assert th.equal(layer.scale[-1], th.full((shape[1],), constant))
        assert th.count_nonzero(layer.shift) == 0
        return
    for head in (layer.scale, layer.shift):
        assert th.count_nonzero(head[-1]) == 0
        if name == "HyperFanIn":
            # As a generated layer's with one input: uniform of variance 1 / (2 K).
            assert head.abs().max() <= math.sqrt(3 / (2 * K))
            assert head[:-1].var().item() == pytest.approx(1 / (2 * K), rel=3 / math.sqrt(head[:-1].numel()))
        else:
            check_base_layer(head[:-1].t(), name.lower(), 1.0)
    assert not th.allclose(layer.scale, layer.shift)


def ordinary(layer, x):
    return nn.functional.linear(x, layer.linear.weight, layer.linear.bias)


@every_base
def test_film_is_the_ordinary_layer_for_the_latents_that_its_initialiser_names(base):
    """Of any latent, of any one-hot latent, and half of each: for a one-hot latent 1/2 + 1/2."""
    x, any_latent, one_hot = th.randn(K, 8), factors_of(100 * th.randn(K, K)), factors_of(th.eye(K))
    bias, weight, both = (make_film(name, (8, 6), base) for name in FILM_SCALES)
    th.testing.assert_close(bias(x, any_latent), ordinary(bias, x))
    th.testing.assert_close(weight(x, one_hot), ordinary(weight, x))
    th.testing.assert_close(both(x, one_hot), ordinary(both, x))
    th.testing.assert_close(both(x, factors_of(th.zeros(K, K))), ordinary(both, x) / 2)


@pytest.mark.parametrize("name", HYPER_INITIALIZERS)
@every_base
def test_every_initialiser_makes_a_network_that_learns(name, base):
    th.manual_seed(0)
    network = BaseNetwork("generated", K + 1, 8, [16, 16], 3, nn.Tanh, 1.0, make_initializer(name, base))
    output, _ = network(th.randn(32, 8), factors_of(th.randn(32, K)))
    output.square().sum().backward()
    assert output.isfinite().all()
    assert all(p.grad.isfinite().all() for p in network.parameters())
    assert all(th.count_nonzero(p.grad) > 0 for p in network.parameters())


@pytest.mark.parametrize(
    ("name", "base", "message"),
    [
        ("BiasHyperinit", "orthogonal", "Unknown initializer.*Did you mean 'BiasHyperInit'"),
        ("BiasHyperInit", "orthogonl", "Unknown base initializer.*Did you mean 'orthogonal'"),
    ],
)
def test_unknown_names_propose_the_nearest(name, base, message):
    with pytest.raises(ValueError, match=message):
        make_initializer(name, base)
