"""The numbers are those of the environment itself: locally, over gRPC, HTTP and shared memory; one or a batch."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import rlbridge
from tests.envs import Counter, SharedArray
from tests.trajectory import batch_hash, digest, single_hash

STEPS = 10_000
MODES = list(AutoresetMode)


@pytest.fixture
def targets(serve, tmp_path):
    """CartPole in this process, over gRPC, a unix socket, HTTP and shared memory, all of one server."""
    sockets = [f"unix://{tmp_path}/env.sock", f"shm://{tmp_path}/memory.sock"]
    server = serve("CartPole-v1", bind=["grpc://127.0.0.1:0", "http://127.0.0.1:0", *sockets])
    return ["CartPole-v1", *server.urls]


def test_ten_thousand_single_steps_are_the_same_everywhere(targets):
    hashes = []
    for target in targets:
        env = rlbridge.make(target)
        hashes.append(single_hash(env, STEPS, seed=0))
        env.close()
    assert len(set(hashes)) == 1
    env = rlbridge.make("CartPole-v1")
    assert single_hash(env, STEPS, seed=1) != hashes[0]


@pytest.mark.parametrize("mode", MODES)
def test_ten_thousand_batched_steps_are_the_same_everywhere(targets, mode):
    hashes = []
    for target in targets:
        envs = rlbridge.make_vec(target, 8, autoreset_mode=mode)
        assert envs.metadata["autoreset_mode"] is mode
        hashes.append(batch_hash(envs, STEPS // 8, seed=0, disabled=mode is AutoresetMode.DISABLED))
        envs.close()
    assert len(set(hashes)) == 1


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("truncate", [False, True])
def test_infos_and_final_observations_are_those_of_gymnasium(serve, mode, truncate):
    def make(**kwargs):
        return Counter(length=3, truncate=truncate)

    from rlbridge.server.catalog import Offer

    remote = rlbridge.make_vec(serve([Offer("counter", make)]).urls[0], 3, autoreset_mode=mode)
    local = SyncVectorEnv([make] * 3, autoreset_mode=mode)
    assert same(remote.reset(seed=[5, None, 0], options={"a": 1}), local.reset(seed=[5, None, 0], options={"a": 1}))
    for i in range(12):
        actions = np.array([i % 3, 1, 2])
        mine, theirs = remote.step(actions), local.step(actions)
        assert same(mine, theirs), (i, mine, theirs)
        if mode is AutoresetMode.DISABLED and (mine[2] | mine[3]).any():
            mask = mine[2] | mine[3]
            assert same(
                remote.reset(options={"reset_mask": mask.copy()}), local.reset(options={"reset_mask": mask.copy()})
            )
    remote.close()


def same(mine, theirs) -> bool:
    """Equal in value, dtype, shape and keys, whatever is nested in it."""
    return digest(mine).digest() == digest(theirs).digest()


def test_a_final_observation_is_copied_before_the_reset_can_spoil_it(serve):
    envs = rlbridge.make_vec(serve("tests.envs:SharedArray").urls[0], 2, autoreset_mode=AutoresetMode.SAME_STEP)
    envs.reset(seed=0)
    for _ in range(3):
        observations, _, terminated, _, infos = envs.step(np.array([0, 1]))
    assert terminated.all()
    np.testing.assert_array_equal(np.stack(infos["final_obs"]), [[0, 3], [0, 3]])
    np.testing.assert_array_equal(observations, [[1, 0], [1, 0]])
    envs.close()
    assert SharedArray is not None


def test_a_row_that_is_a_reset_is_marked_on_the_wire(serve):
    envs = rlbridge.make_vec(serve("tests.envs:Counter").urls[0], 2)
    envs.reset(seed=0)
    marks = []
    for _ in range(7):
        envs.send(np.array([0, 0]))
        response = envs._session.receive().step
        marks.append(list(response.was_reset))
    assert marks == [[], [], [], [], [], [1, 1], []]


def test_a_native_batch_steps_as_the_same_batch_does_here(serve, tmp_path):
    (tmp_path / "serve.yaml").write_text("env: CartPole-v1\nvectorization: native\n")
    server = serve(str(tmp_path))
    remote = rlbridge.make_vec(server.urls[0], 16)
    local = gymnasium.make_vec("CartPole-v1", 16, vectorization_mode="vector_entry_point")
    remote.action_space.seed(3)
    for mine, theirs in zip(remote.reset(seed=3), local.reset(seed=3), strict=True):
        assert same(mine, theirs)
    for _ in range(500):
        actions = remote.action_space.sample()
        mine, theirs = remote.step(actions), local.step(actions)
        assert same(mine[0], theirs[0])
        assert same(mine[1], np.asarray(theirs[1], np.float64))  # this batch gives float32 where others give float64
        assert same(mine[2:], theirs[2:])
    with pytest.raises(rlbridge.errors.Unsupported, match="only does NextStep, not SameStep"):
        rlbridge.make_vec(server.urls[0], 16, autoreset_mode=AutoresetMode.SAME_STEP)
    remote.close()


def test_seed_zero_is_a_seed(serve):
    env = rlbridge.make(serve("CartPole-v1").urls[0])
    first, _ = env.reset(seed=0)
    unseeded, _ = env.reset()
    again, _ = env.reset(seed=0)
    np.testing.assert_array_equal(first, again)
    assert (first != unseeded).any()
    env.close()


def test_every_kind_of_space_makes_the_round_trip_as_observation_and_action(serve):
    url = serve("tests.envs:AnySpace").urls[0]
    env = rlbridge.make(url)
    observation, _ = env.reset(seed=4)
    assert observation in env.observation_space
    env.action_space.seed(7)
    for _ in range(20):
        action = env.action_space.sample()
        observation, *_ = env.step(action)
        assert same(observation, action)
    env.close()
    envs = rlbridge.make_vec(url, 3, autoreset_mode=AutoresetMode.SAME_STEP)
    envs.reset(seed=4)
    envs.action_space.seed(7)
    actions = envs.action_space.sample()
    observations, *_ = envs.step(actions)
    assert same(observations, actions)
    envs.close()


def test_arrays_can_be_written_to_unless_copies_are_declined(serve):
    url = serve("CartPole-v1").urls[0]
    for copy in (True, False):
        envs = rlbridge.make_vec(url, 2, copy=copy)
        envs.reset(seed=0)
        observations, rewards, terminated, *_ = envs.step(np.array([0, 1]))
        assert {array.flags.writeable for array in (observations, rewards, terminated)} == {copy}
        envs.close()
