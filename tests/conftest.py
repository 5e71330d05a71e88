"""What the tests of several packages share."""

import pytest
import torch as th


@pytest.fixture
def one_thread():
    """Work of small matrices in one thread: two would wait for each other, and benchmarks set the number for good."""
    before = th.get_num_threads()
    th.set_num_threads(1)
    yield
    th.set_num_threads(before)


@pytest.fixture
def scramble():
    """``scramble(policy)``: move all parameters away from their initialisation, so that the latent matters."""

    def scramble(policy):
        with th.no_grad():
            for parameter in policy.parameters():
                parameter.add_(0.2 * th.randn_like(parameter))
        return policy

    return scramble
