import array_api_compat.numpy as numpy_namespace
import array_api_compat.torch as torch_namespace
import numpy as np
import pytest
from gymnasium import spaces

from sb3_hyper.envs.action_encoding import ActionEncoder

SPACES = [
    spaces.Discrete(4),
    spaces.Discrete(3, start=2),
    spaces.MultiDiscrete([2, 3, 4]),
    spaces.MultiDiscrete([2, 3], start=[1, -1]),
    spaces.MultiDiscrete([[2, 3], [4, 2]]),
    spaces.MultiBinary(3),
    spaces.MultiBinary([2, 2]),
    spaces.Box(-2.0, 3.0, (2, 3), np.float32),
    spaces.Box(1.0, 2.0, (2,), np.float64),
]


def slow_encoding(space, action):
    """One entry at a time."""
    if isinstance(space, spaces.Discrete):
        return [float(value == action) for value in range(space.start, space.start + space.n)]
    if isinstance(space, spaces.MultiDiscrete):
        entries = zip(action.reshape(-1), space.start.reshape(-1), space.nvec.reshape(-1), strict=True)
        return [float(value == entry) for entry, start, size in entries for value in range(start, start + size)]
    return action.reshape(-1).astype(float).tolist()


@pytest.mark.parametrize("space", SPACES, ids=str)
@pytest.mark.parametrize("xp", [numpy_namespace, torch_namespace])
def test_encodings_equal_the_slow_ones(space, xp):
    space.seed(0)
    actions = np.stack([space.sample() for _ in range(20)])
    encoder = ActionEncoder(space, xp)
    encoded = np.asarray(encoder(xp.asarray(actions)))
    np.testing.assert_allclose(encoded, [slow_encoding(space, action) for action in actions], rtol=1e-6)
    assert encoded.dtype == np.float32 and all(row in encoder.space for row in encoded)
    assert np.zeros(encoder.space.shape, np.float32) in encoder.space


def test_an_encoded_box_is_a_copy():
    actions = np.zeros((1, 2), np.float32)
    ActionEncoder(spaces.Box(-1.0, 1.0, (2,), np.float32), numpy_namespace)(actions)[0, 0] = 5.0
    assert actions[0, 0] == 0.0


@pytest.mark.parametrize("space", [spaces.Dict({"a": spaces.Discrete(2)}), spaces.Text(3)], ids=str)
def test_other_spaces_are_refused(space):
    with pytest.raises(TypeError, match="Flatten the action space"):
        ActionEncoder(space, numpy_namespace)


@pytest.mark.parametrize("actions", [[0, 4], [-1, 0], [0.0, 1.0]])
def test_check_refuses_what_is_no_action(actions):
    encoder = ActionEncoder(spaces.Discrete(4), numpy_namespace)
    encoder.check(np.array([0, 3]))
    with pytest.raises(ValueError, match="are not all in"):
        encoder.check(np.array(actions))
