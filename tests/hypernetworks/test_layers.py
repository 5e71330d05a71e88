"""Conditioned layers and base networks: what is generated is what is applied."""

import pytest
import torch as th
from torch import nn

from sb3_hyper.hypernetworks import BaseNetwork, FiLMLinear, GeneratedLinear, Trunk, make_initializer, product_table
from sb3_hyper.hypernetworks.base_network import LAYERS, PlainLinear, activation_gain
from sb3_hyper.hypernetworks.distinct_rows import row_keys
from sb3_hyper.hypernetworks.product_table import ProductTable

N, N_FACTORS, N_INPUTS, N_OUTPUTS = 6, 4, 5, 3


def make_layer(layer_class, initializer="HyperFanIn"):
    th.manual_seed(0)
    return layer_class(N_FACTORS, N_INPUTS, N_OUTPUTS, 1.5, make_initializer(initializer)).double()


def inputs():
    x, h = th.randn(N, N_INPUTS, dtype=th.float64), th.randn(N, N_FACTORS - 1, dtype=th.float64)
    return x, th.cat((h, th.ones(N, 1, dtype=th.float64)), dim=1)


def test_generated_layer_applies_what_it_generates():
    layer = make_layer(GeneratedLinear)
    nn.init.normal_(layer.weight), nn.init.normal_(layer.bias)
    x, factors = inputs()
    weights, biases = layer.generate(factors)
    assert weights.shape == (N, N_OUTPUTS, N_INPUTS)
    expected = th.stack([nn.functional.linear(*row) for row in zip(x, weights, biases, strict=True)])
    th.testing.assert_close(layer(x, factors), expected)


def test_generated_weights_are_linear_in_the_factors_plus_a_constant():
    layer = make_layer(GeneratedLinear)
    nn.init.normal_(layer.weight), nn.init.normal_(layer.bias)
    _, factors = inputs()
    for generated, heads in zip(layer.generate(factors), layer.generate(th.eye(N_FACTORS).double()), strict=True):
        by_hand = heads[-1] + sum(factors[0, k] * heads[k] for k in range(N_FACTORS - 1))
        th.testing.assert_close(generated[0], by_hand)


def test_film_scales_and_shifts_a_plain_layer():
    layer = make_layer(FiLMLinear)
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    x, factors = inputs()
    for row in range(N):
        plain = layer.linear.weight @ x[row] + layer.linear.bias
        scale, shift = factors[row] @ layer.scale, factors[row] @ layer.shift
        th.testing.assert_close(layer(x, factors)[row], scale * plain + shift)


def test_film_starts_as_the_plain_layer():
    layer = make_layer(FiLMLinear, "BiasHyperInit")
    x, factors = inputs()
    th.testing.assert_close(layer(x, factors), layer.linear(x))
    assert th.count_nonzero(layer.linear.bias) == 0
    gram = layer.linear.weight @ layer.linear.weight.t()
    th.testing.assert_close(gram, 1.5**2 * th.eye(N_OUTPUTS, dtype=th.float64), atol=1e-6, rtol=1e-6)


def test_plain_layer_does_not_see_the_factors():
    layer = make_layer(PlainLinear)
    x, factors = inputs()
    assert th.equal(layer(x, factors), layer(x, 3 * factors))
    gram = layer.weight @ layer.weight.t()
    th.testing.assert_close(gram, 1.5**2 * th.eye(N_OUTPUTS, dtype=th.float64), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("kind", LAYERS)
def test_base_network_is_a_multi_layer_perceptron(kind):
    network = BaseNetwork(
        kind, N_FACTORS, N_INPUTS, [7, 4], 2, nn.Tanh, 0.01, make_initializer("BiasHyperInit")
    ).double()
    x, factors = inputs()
    hidden = network.hidden_layers[0](x, factors).tanh()
    hidden = network.hidden_layers[1](hidden, factors).tanh()
    output, last_hidden = network(x, factors)
    th.testing.assert_close(last_hidden, hidden)
    th.testing.assert_close(output, network.output_layer(hidden, factors))
    assert (output.shape, network.hidden_dim) == ((N, 2), 4)


def test_base_network_without_hidden_layers_is_linear():
    network = BaseNetwork("plain", N_FACTORS, N_INPUTS, [], 2, nn.Tanh, 1.0, make_initializer("BiasHyperInit")).double()
    x, factors = inputs()
    output, hidden = network(x, factors)
    th.testing.assert_close(output, x @ network.output_layer.weight.t())
    assert hidden is x


@pytest.mark.parametrize("hidden_dims", [[7, 4], []])
@pytest.mark.parametrize("kind", LAYERS)
def test_distinct_inputs_are_the_inputs_they_stand_for(kind, hidden_dims):
    th.manual_seed(0)
    network = BaseNetwork(
        kind, N_FACTORS, N_INPUTS, hidden_dims, 2, nn.Tanh, 1.0, make_initializer("BiasHyperInit")
    ).double()
    for parameter in network.parameters():
        nn.init.normal_(parameter)
    (x, factors), indices = inputs(), th.tensor([2, 0, 0, 1, 2, 0])
    rows = x[:3]

    def with_gradients(x, *others):
        leaves = (rows.requires_grad_(), factors.requires_grad_(), *network.parameters())
        output, hidden = network(x(), factors, *others)
        loss = (output * th.arange(2 * N).view(N, 2)).sum() + hidden.square().sum()
        gradients = th.autograd.grad(loss, leaves, allow_unused=True)
        return output, hidden, *(gradient for gradient in gradients if gradient is not None)

    found, expected = with_gradients(lambda: rows, indices), with_gradients(lambda: rows[indices])
    assert len(found) == len(expected)
    th.testing.assert_close(found, expected)


@pytest.mark.parametrize("capacity", [4, 3, 0])
@pytest.mark.parametrize("keys", [row_keys, lambda x: th.zeros(len(x)), lambda x: x[:, 0].round()])
def test_products_of_inputs_that_come_again(capacity, keys, monkeypatch):
    monkeypatch.setattr(product_table, "row_keys", keys)
    th.manual_seed(0)
    weight, bias, different = th.randn(N_INPUTS, 8), th.randn(8), th.randn(4, N_INPUTS)
    table = ProductTable(weight, bias, capacity)
    for rows in ([0, 0, 1], [2, 1, 0], [0, 2, 2], [3, 3, 1], [0, 1, 3], [3], [2, 1]):
        x = different[rows]
        th.testing.assert_close(table(x), x @ weight + bias)


def test_a_product_is_computed_once(monkeypatch):
    computed = []
    original = th.addmm
    monkeypatch.setattr(th, "addmm", lambda bias, x, weight: computed.append(len(x)) or original(bias, x, weight))
    different = th.randn(6, N_INPUTS)
    table = ProductTable(th.randn(N_INPUTS, 8), th.randn(8), 4)
    for rows in ([0, 0, 1], [1, 0], [0, 2], [1, 3], [3, 0, 0], [3, 4, 0], [0, 5]):
        table(different[rows])
    # A batch with a new input is computed as a whole beside it; the fifth is one too many, and ends the looking up.
    assert computed == [2, 3, 1, 2, 1, 2, 1, 3, 2]


def test_rows_do_not_influence_each_other():
    network = BaseNetwork(
        "generated", N_FACTORS, N_INPUTS, [7], 2, nn.Tanh, 1.0, make_initializer("HyperFanIn")
    ).double()
    x, factors = inputs()
    th.testing.assert_close(network(x[2:3], factors[2:3])[0], network(x, factors)[0][2:3])


def test_unknown_layer_kind_proposes_the_nearest():
    with pytest.raises(ValueError, match="Unknown layer kind 'generate'.*Did you mean 'generated'"):
        BaseNetwork("generate", N_FACTORS, N_INPUTS, [7], 2, nn.Tanh, 1.0, make_initializer("HyperFanIn"))


def test_gains_of_activations():
    assert activation_gain(nn.Tanh) == pytest.approx(5 / 3)
    assert activation_gain(nn.ReLU) == pytest.approx(2**0.5)
    assert activation_gain(nn.Mish) == 1.0


def test_trunk_is_tanh_layers_and_a_constant():
    trunk = Trunk(6, [5, 3], make_initializer("BiasHyperInit"))
    latent = th.randn(N, 6)
    first, _, second, _ = trunk.layers
    expected = second(first(latent).tanh()).tanh()
    factors = trunk(latent)
    assert factors.shape == (N, trunk.output_dim)
    assert th.equal(factors, th.cat((expected, th.ones(N, 1)), dim=1))


@pytest.mark.parametrize("layer_dims", [[0], [5, -1]])
def test_impossible_trunks_are_refused(layer_dims):
    with pytest.raises(ValueError, match="wanted positive widths"):
        Trunk(6, layer_dims, make_initializer("BiasHyperInit"))


@pytest.mark.parametrize("kind", ["generated", "film"])
@pytest.mark.parametrize(("chosen", "kinds"), [([0], "cpp"), ([-1], "ppc"), ([1, 2], "pcc"), ([0, -3], "cpp")])
def test_any_subset_of_layers_is_conditioned(kind, chosen, kinds):
    network = BaseNetwork(
        kind, N_FACTORS, N_INPUTS, [7, 6], 2, nn.Tanh, 1.0, make_initializer("BiasHyperInit"), conditioned_layers=chosen
    )
    expected = [LAYERS["plain"] if letter == "p" else LAYERS[kind] for letter in kinds]
    assert [type(layer) for layer in (*network.hidden_layers, network.output_layer)] == expected


def test_multi_head_network_is_a_special_case():
    """Output layers alone, no trunk, one-hot latents: a shared body with one head for each task."""
    th.manual_seed(0)
    n_tasks, initializer = 3, make_initializer("WeightHyperInit")
    trunk = Trunk(n_tasks, [], initializer)
    network = BaseNetwork(
        "generated", trunk.output_dim, N_INPUTS, [7], 2, nn.Tanh, 1.0, initializer, conditioned_layers=[-1]
    )
    nn.init.normal_(network.output_layer.bias)
    x, task = th.randn(N, N_INPUTS), th.arange(N) % n_tasks
    output, hidden = network(x, trunk(nn.functional.one_hot(task, n_tasks).float()))
    body = network.hidden_layers[0]
    th.testing.assert_close(hidden, nn.functional.linear(x, body.weight, body.bias).tanh())
    weight, bias = network.output_layer.weight.transpose(0, 1), network.output_layer.bias
    heads = [nn.functional.linear(hidden, weight[k].t(), bias[k] + bias[-1]) for k in range(n_tasks)]
    th.testing.assert_close(output, th.stack([heads[k][row] for row, k in enumerate(task.tolist())]))


def test_normalised_latent_has_unit_variance_however_small_it_is():
    trunk = Trunk(24, [], make_initializer("HyperFanIn"), normalize_latent=True)
    for scale in (1e-3, 1.0, 1e3):
        factors = trunk(scale * th.randn(N, 24, dtype=th.float64) + scale)[:, :-1]
        th.testing.assert_close(factors.mean(dim=1), th.zeros(N, dtype=th.float64), atol=1e-6, rtol=0)
        th.testing.assert_close(factors.var(dim=1, correction=0), th.ones(N, dtype=th.float64), atol=5e-2, rtol=0)
    assert trunk(th.zeros(1, 24)).isfinite().all()
