"""Raw actions and the environment's: units, bounds, dtype and numbering, dimension by dimension."""

import numpy as np
import pytest
from gymnasium import spaces

from rlbridge.play.actions import NotFinite, actions_of
from rlbridge.play.encoding import Encoder, UnsupportedSpace

NARROW_AND_WIDE = spaces.Box(np.array([-0.1, 0.0, -7.0], np.float32), np.array([0.1, 50.0, -3.0], np.float32))


def test_each_dimension_has_its_own_scale():
    actions = actions_of(NARROW_AND_WIDE)
    raw = np.array([[-1.0, -1.0, -1.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.5, -0.5, 0.5]], np.float32)
    wanted = [[-0.1, 0.0, -7.0], [0.0, 25.0, -5.0], [0.1, 50.0, -3.0], [0.05, 12.5, -4.0]]
    assert actions.to_environment(raw) == pytest.approx(np.array(wanted), abs=1e-6)


def test_what_is_beyond_the_bounds_is_clipped_to_them():
    actions = actions_of(NARROW_AND_WIDE)
    sent = actions.to_environment(np.array([[-9.0, 9.0, 1.0 + 1e-7]], np.float32))
    assert NARROW_AND_WIDE.contains(sent[0])
    assert sent[0] == pytest.approx([-0.1, 50.0, -3.0])


def test_a_side_without_a_bound_counts_in_the_environments_units():
    space = spaces.Box(np.array([0.0, -np.inf], np.float32), np.array([np.inf, np.inf], np.float32))
    actions = actions_of(space)
    assert actions.bounded.tolist() == [False, False]
    assert actions.to_environment(np.array([[-3.0, -3.0], [3.0, 3.0]], np.float32)).tolist() == [[0, -3], [3, 3]]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_action_that_is_not_finite_is_never_sent(bad):
    with pytest.raises(NotFinite, match=r"row 1 .*nothing was sent.*learning_rate"):
        actions_of(NARROW_AND_WIDE).to_environment(np.array([[0.0, 0.0, 0.0], [0.0, bad, 0.0]], np.float32))


@pytest.mark.parametrize(
    ("space", "raw", "sent"),
    [
        (spaces.Discrete(3, start=-1), [[0], [2]], [-1, 1]),
        (spaces.MultiDiscrete([2, 3], start=[5, -1]), [[0, 0], [1, 2]], [[5, -1], [6, 1]]),
        (spaces.MultiBinary((2, 2)), [[0, 1, 1, 0]], [[[0, 1], [1, 0]]]),
        (spaces.Box(0, 10, (1,), np.int64), [[-1.0], [0.0], [0.55], [1.0]], [[0], [5], [8], [10]]),
        (spaces.Box(-2.0, 2.0, (), np.float64), [[-1.0], [0.5]], [-2.0, 1.0]),
    ],
    ids=str,
)
def test_numbering_shape_and_dtype_are_the_spaces(space, raw, sent):
    ours = actions_of(space).to_environment(np.array(raw))
    assert ours.tolist() == sent
    assert ours.dtype == space.dtype
    assert space.shape == () or all(space.contains(action) for action in ours)


@pytest.mark.parametrize(
    "space",
    [spaces.Discrete(3, start=4), spaces.MultiDiscrete([2, 5]), spaces.MultiBinary(3), NARROW_AND_WIDE],
    ids=str,
)
def test_random_actions_cover_the_space_and_nothing_else(space):
    actions = actions_of(space)
    raw = actions.random(2_000, np.random.default_rng(0))
    sent = actions.to_environment(raw)
    assert raw.shape == (2_000, actions.width)
    assert raw.dtype == actions.dtype
    assert all(space.contains(action) for action in sent)
    if isinstance(space, spaces.Box):
        assert (sent.min(0) - space.low < 0.01 * (space.high - space.low)).all()
        assert (space.high - sent.max(0) < 0.01 * (space.high - space.low)).all()
    else:
        counts = [np.bincount(column, minlength=2)[: n + 1] for column, n in zip(raw.T, actions.classes, strict=True)]
        assert all(count.min() > 0.7 * 2_000 / n for count, n in zip(counts, actions.classes, strict=True))


def test_observations_of_a_discrete_space_are_one_hot_from_its_start():
    encoder = Encoder(spaces.Discrete(3, start=4))
    assert encoder.batch(np.array([4, 6])).tolist() == [[1, 0, 0], [0, 0, 1]]
    assert encoder.single(5).tolist() == [0, 1, 0]


def test_actions_of_other_spaces_are_refused_with_what_to_do():
    with pytest.raises(UnsupportedSpace, match=r"Tuple space.*FlattenAction"):
        actions_of(spaces.Tuple([spaces.Discrete(2)]))
