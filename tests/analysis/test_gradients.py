"""Gradients over time: against one backward pass for each, and against the published figures."""

import numpy as np
import pytest
import torch as th

from sb3_hyper.analysis import find_subject, gradient_norms
from sb3_hyper.analysis.gradients import input_gradients, parameter_gradients
from sb3_hyper.analysis.published import FIRST_INPUT, PARAMETERS, STEPS
from sb3_hyper.analysis.subjects import uniform_inputs
from sb3_hyper.policies import POLICIES


@pytest.mark.parametrize("name", POLICIES)
def test_norms_are_those_of_one_backward_pass_for_each_step(name, narrow):
    network = find_subject(name, narrow).draw(0)
    x, steps = uniform_inputs(0, 9, narrow.input_dim), np.array([0, 3, 8])
    by_input, by_parameters = input_gradients(network, x, steps), parameter_gradients(network, x, steps)
    for row, t in enumerate(steps):
        inputs = x.clone().requires_grad_()
        network.zero_grad()
        network(inputs)[t].sum().backward()
        np.testing.assert_allclose(by_input[row], inputs.grad.norm(dim=-1)[:, 0], rtol=1e-4, atol=1e-7)
        assert (by_input[row, t + 1 :] == 0).all()
        gradients = [parameter.grad.flatten() for parameter in network.parameters() if parameter.grad is not None]
        assert by_parameters[row] == pytest.approx(float(th.cat(gradients).norm()), rel=1e-4)


@pytest.fixture(scope="module")
def measured():
    return {name: gradient_norms(find_subject(name), STEPS) for name in FIRST_INPUT}


@pytest.mark.parametrize("name", FIRST_INPUT)
def test_published_gradients(measured, name):
    first_input, parameters = measured[name].first_input.mean(axis=0), measured[name].parameters.mean(axis=0)
    # An early input's gradient in SplAgger hangs on a few maxima; the RNN's is a product of a hundred factors.
    factors = [1.2, 1.2, 1.3, 2.0, 3.0]
    for ours, theirs, factor in zip(first_input, FIRST_INPUT[name], factors, strict=True):
        assert theirs / factor < ours < theirs * factor
    np.testing.assert_allclose(parameters, PARAMETERS[name], rtol=0.12)


def test_what_the_paper_concludes_from_them(measured):
    rnn, amrl, splagger = (measured[name] for name in ("RNNHNPolicy", "AMRLPolicy", "SplAggerPolicy"))
    assert (rnn.first_input[:, -1] < 1e-15).all()
    # AMRL's surrogate: what the first input does to the sum of all encodings, which soon changes no more.
    np.testing.assert_allclose(amrl.first_input[:, 3], amrl.first_input[:, 4], rtol=1e-5)
    growth = {result.name: (result.parameters[:, -1] / result.parameters[:, 0]).mean() for result in measured.values()}
    assert growth["AMRLPolicy"] > 10 and growth["SplAggerPolicy"] < 2
    slope = np.polyfit(np.log1p(STEPS), np.log(splagger.first_input.mean(axis=0)), 1)[0]
    assert -0.9 < slope < -0.4


def test_result_properties_and_seeds(narrow):
    result = gradient_norms(find_subject("gru", narrow), [0, 2], length=4, n_seeds=2)
    assert result.inputs.shape == (2, 2, 4) and result.parameters.shape == (2, 2)
    np.testing.assert_allclose(result.all_inputs, np.linalg.norm(result.inputs, axis=-1))
    assert not np.allclose(result.parameters[0], result.parameters[1])
    again = gradient_norms(find_subject("gru", narrow), [0, 2], length=4, n_seeds=2)
    assert again.to_dict() == result.to_dict()
    assert "gru, t =" in result.table() and f"{result.parameters[:, 1].mean():.3g}" in result.table()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": [4]}, "wanted numbers from 0 to 3"),
        ({"steps": [-1]}, "wanted numbers from 0 to 3"),
        ({"steps": [1, 1]}, "wanted different whole numbers"),
        ({"steps": []}, "wanted different whole numbers"),
        ({"n_seeds": 0}, "n_seeds=0: wanted at least 1"),
        ({"length": 0}, "length=0: wanted at least 1"),
    ],
)
def test_wrong_settings(narrow, settings, message):
    with pytest.raises(ValueError, match=message):
        gradient_norms(find_subject("gru", narrow), **{"steps": [0], "length": 4, **settings})


def test_the_callers_random_numbers_go_on(narrow):
    th.manual_seed(3)
    expected = th.rand(2)
    th.manual_seed(3)
    gradient_norms(find_subject("RNNHNPolicy", narrow), [0], length=2, n_seeds=1)
    th.testing.assert_close(th.rand(2), expected, rtol=0, atol=0)
