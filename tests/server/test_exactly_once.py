"""The table above StepRequest in env.proto, line by line, on a host without a network; then at random."""

from __future__ import annotations

import threading

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlbridge import errors
from rlbridge.server.catalog import Offer
from rlbridge.server.host import Host
from rlbridge.server.limits import ServerLimits
from rlbridge.v1 import env_pb2
from rlbridge.wire import BlockCodec
from tests.envs import Counter, Fragile, Gate


class Peer:
    """Speaks to a host as any client in any language might, right or wrong."""

    def __init__(self, make, limits: ServerLimits | None = None, num_envs: int = 0):
        self.made: list[gymnasium.Env] = []

        def recorded():
            self.made.append(make())
            return self.made[-1]

        self.host = Host([Offer("env", recorded)], limits)
        self.opened = self.host.open(open_request(num_envs))
        self.codec = BlockCodec(gymnasium.spaces.Discrete(3))
        self.epoch = self.opened.epoch

    @property
    def env(self):
        return self.made[-1]

    def reset(self, seq=1, **fields):
        request = env_pb2.ResetRequest(session=self.opened.session, seq=seq, epoch=self.epoch, **fields)
        return self.host.execute(env_pb2.ExchangeRequest(reset=request))

    def step(self, seq, action=0):
        request = env_pb2.StepRequest(
            session=self.opened.session, seq=seq, epoch=self.epoch, action=self.codec.pack(action)
        )
        return self.host.execute(env_pb2.ExchangeRequest(step=request))

    def step_raw(self, seq, block=b"\xff" * 8):
        request = env_pb2.StepRequest(session=self.opened.session, seq=seq, epoch=self.epoch, action=[block])
        return self.host.execute(env_pb2.ExchangeRequest(step=request))

    def stop(self):
        self.host.stop()


def open_request(num_envs=0, key=b"0123456789abcdef", **fields):
    return env_pb2.OpenRequest(protocol_version=1, num_envs=num_envs, open_key=key, **fields)


@pytest.fixture
def peer():
    peer = Peer(lambda: Counter(length=1000))
    peer.reset()
    yield peer
    peer.stop()


def reason(response):
    return response.error.reason


def test_the_next_number_executes(peer):
    response = peer.step(2, action=1)
    assert (response.step.seq, response.step.replayed) == (2, False)
    assert np.frombuffer(response.step.reward)[0] == 1.0
    assert peer.env.total_steps == 1


def test_a_repeated_request_gets_the_kept_outcome_and_the_environment_is_not_touched(peer):
    first = peer.step(2, action=1)
    again = peer.step(2, action=1)
    assert again.step.replayed
    assert again.step.observation == first.step.observation
    assert peer.env.total_steps == 1
    assert not peer.step(3).step.replayed


def test_the_last_four_outcomes_are_kept_and_older_ones_are_not(peer):
    for seq in range(2, 7):
        peer.step(seq)
    assert peer.step(3).step.replayed
    expired = peer.step(2)
    assert reason(expired) == "SEQ_EXPIRED"
    assert expired.error.details["oldest"] == "3"
    assert peer.env.total_steps == 5


def test_a_kept_number_with_other_content_is_a_conflict(peer):
    peer.step(2, action=1)
    assert reason(peer.step(2, action=2)) == "SEQ_CONFLICT"
    assert reason(peer.reset(2)) == "SEQ_CONFLICT"
    assert peer.env.total_steps == 1


def test_a_gap_is_refused_with_the_number_expected(peer):
    response = peer.step(4)
    assert reason(response) == "SEQ_GAP"
    assert (response.error.details["expected"], response.error_seq) == ("2", 4)
    assert peer.env.total_steps == 0


def test_another_epoch_means_that_the_state_is_lost(peer):
    peer.epoch += 1
    assert reason(peer.step(2)) == "EPOCH_CHANGED"
    assert peer.env.total_steps == 0


def test_a_reset_is_kept_like_a_step(peer):
    again = peer.reset(1)
    assert again.reset.replayed
    assert peer.env.episode == 0


def test_a_refused_action_leaves_the_environment_unstepped_and_its_number_free(peer):
    for bad in (b"", b"\x01\x02", np.int64(7).tobytes(), np.int64(-1).tobytes()):
        assert reason(peer.step_raw(2, bad)) == "INVALID_ACTION"
    assert peer.env.total_steps == 0
    assert peer.step(2).step.seq == 2


def test_an_exception_in_the_environment_is_an_outcome_and_is_kept():
    peer = Peer(Fragile)
    peer.reset()
    first = peer.step(2, action=2)
    assert reason(first) == "ENVIRONMENT_ERROR"
    assert "ValueError in step: boom at action 2" in first.error.message
    assert peer.step(2, action=2).error == first.error
    needs_reset = peer.step(3)
    assert reason(needs_reset) == "NEEDS_RESET"
    assert peer.reset(3).reset.seq == 3  # the refusal did not use the number up
    assert len(peer.made) == 3  # the probe, the session's first, the rebuilt one
    assert peer.step(4).step.seq == 4
    peer.stop()


def test_a_request_that_is_still_executing_is_waited_for_and_executed_once():
    peer = Peer(Gate)
    peer.reset()
    Gate.entered.clear()
    Gate.let_go.clear()
    answers: list = []
    threads = [threading.Thread(target=lambda: answers.append(peer.step(2, action=1))) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert Gate.entered.wait(10)
    Gate.let_go.set()
    for thread in threads:
        thread.join(10)
    assert sorted(answer.step.replayed for answer in answers) == [False, True, True, True]
    assert peer.env.total_steps == 1
    peer.stop()


def test_waiting_for_a_stuck_environment_ends_with_a_clear_answer():
    peer = Peer(Gate, ServerLimits(wait_seconds=0.1))
    peer.reset()
    Gate.entered.clear()
    Gate.let_go.clear()
    stuck = threading.Thread(target=peer.step, args=(2,))
    stuck.start()
    assert Gate.entered.wait(10)
    late = peer.step(2)
    assert reason(late) == "DEADLINE"
    assert "0.1 s" in late.error.message
    Gate.let_go.set()
    stuck.join(10)
    assert peer.step(2).step.replayed
    peer.stop()


def test_opening_twice_with_one_key_is_one_session(peer):
    again = peer.host.open(open_request())
    assert again.session == peer.opened.session
    assert peer.host.describe(env_pb2.DescribeRequest()).limits.open_sessions == 1
    other = peer.host.open(open_request(key=b"another key of 16"))
    assert other.session.id != peer.opened.session.id


def test_two_threads_that_open_with_one_key_get_one_session():
    peer = Peer(Counter)
    answers: list = []
    key = b"raced by threads"
    threads = [threading.Thread(target=lambda: answers.append(peer.host.open(open_request(key=key)))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len({answer.session.id for answer in answers}) == 1
    assert len(answers) == 8
    peer.stop()


def test_a_wrong_token_and_a_wrong_id_get_the_same_words(peer):
    real = peer.opened.session
    answers = []
    for ref in (
        env_pb2.SessionRef(id=real.id, token=b"guess", attachment=1),
        env_pb2.SessionRef(id=real.id[:-1] + "x", token=real.token, attachment=1),
    ):
        request = env_pb2.StepRequest(session=ref, seq=2, epoch=peer.epoch, action=peer.codec.pack(0))
        answers.append(peer.host.execute(env_pb2.ExchangeRequest(step=request)).error)
    assert {answer.reason for answer in answers} == {"SESSION_EXPIRED"}
    assert answers[0].message.replace(real.id, "") == answers[1].message.replace(real.id[:-1] + "x", "")


def test_closing_is_idempotent_and_ends_the_session(peer):
    request = env_pb2.CloseRequest(session=peer.opened.session, epoch=peer.epoch)
    peer.host.close(request)
    peer.host.close(request)
    assert reason(peer.step(2)) == "SESSION_EXPIRED"
    assert peer.host.describe(env_pb2.DescribeRequest()).limits.open_sessions == 0
    assert peer.host.open(open_request()).session.id != peer.opened.session.id  # the key is free again


def test_a_session_without_a_sign_of_its_client_expires_and_its_environment_is_closed():
    closed = threading.Event()

    class Closing(Counter):
        def close(self):
            if self.episode >= 0:  # not the probe
                closed.set()

    peer = Peer(Closing, ServerLimits(lease_seconds=0.2))
    peer.reset()
    assert closed.wait(10)
    assert reason(peer.step(2)) == "SESSION_EXPIRED"
    peer.stop()


def test_keeping_alive_renews_the_lease_and_an_open_stream_alone_does_not(peer):
    session = next(iter(peer.host._sessions.values()))
    exchange = peer.host.exchange()
    step = env_pb2.StepRequest(session=peer.opened.session, seq=2, epoch=peer.epoch, action=peer.codec.pack(0))
    assert exchange.execute(env_pb2.ExchangeRequest(step=step)).step.seq == 2
    seen = session._last_seen
    assert not session.expired(seen + 59)
    assert session.expired(seen + 61)
    session._last_seen -= 50
    answer = peer.host.keep_alive(env_pb2.KeepAliveRequest(session=peer.opened.session, epoch=peer.epoch))
    assert answer.lease_ms == 60_000
    assert not session.expired(seen + 59)


def test_resuming_fences_the_older_holder_and_tells_where_the_session_is(peer):
    first = peer.step(2, action=1)
    old = peer.opened.session
    resumed = peer.host.resume(env_pb2.ResumeRequest(session_id=old.id, token=old.token, epoch=peer.epoch))
    assert resumed.session.session.attachment == 2
    assert (resumed.session.next_seq, resumed.oldest_kept_seq) == (3, 1)
    assert resumed.last_outcome == first
    assert resumed.session.observation_space == peer.opened.observation_space
    assert reason(peer.step(3)) == "SUPERSEDED"
    with pytest.raises(errors.Superseded):
        peer.host.keep_alive(env_pb2.KeepAliveRequest(session=old, epoch=peer.epoch))
    with pytest.raises(errors.Superseded):
        peer.host.close(env_pb2.CloseRequest(session=old, epoch=peer.epoch))
    peer.opened.session.CopyFrom(resumed.session.session)
    assert peer.step(2, action=1).step.replayed
    assert peer.step(3).step.seq == 3
    with pytest.raises(errors.SessionExpired):
        peer.host.resume(env_pb2.ResumeRequest(session_id=old.id, token=b"guess", epoch=peer.epoch))
    with pytest.raises(errors.EnvLost):
        peer.host.resume(env_pb2.ResumeRequest(session_id=old.id, token=old.token, epoch=peer.epoch + 1))


def test_a_request_of_the_older_holder_that_was_waiting_is_fenced_too():
    peer = Peer(Gate)
    peer.reset()
    Gate.entered.clear()
    Gate.let_go.clear()
    answers: list = []
    running = threading.Thread(target=lambda: answers.append(peer.step(2)))
    running.start()
    assert Gate.entered.wait(10)
    session = next(iter(peer.host._sessions.values()))
    waiting = threading.Thread(target=lambda: answers.append(peer.step(3)))
    waiting.start()
    session.attach(env_pb2.ResumeRequest())
    Gate.let_go.set()
    running.join(10)
    waiting.join(10)
    assert sorted(reason(answer) for answer in answers) == ["", "SUPERSEDED"]
    assert peer.env.total_steps == 1
    peer.stop()


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["next", "repeat", "repeat2", "old", "gap", "bad", "conflict", "epoch"]), st.integers(0, 1)
        ),
        max_size=40,
    )
)
def test_whatever_the_order_of_duplicates_gaps_and_conflicts_each_step_happens_once(moves):
    peer = Peer(lambda: Counter(length=7))
    peer.reset()
    seq, sent = 1, {}
    for move, action in moves:
        total = peer.env.total_steps
        if move == "next":
            seq += 1
            sent[seq] = action
            assert peer.step(seq, action).step.seq == seq
            assert peer.env.total_steps == total + 1
            continue
        if move in ("repeat", "repeat2") and (back := seq - (move == "repeat2")) in sent:
            assert peer.step(back, sent[back]).step.replayed
        elif move == "old" and seq - 4 in sent:
            assert reason(peer.step(seq - 4, sent[seq - 4])) == "SEQ_EXPIRED"
        elif move == "gap":
            assert reason(peer.step(seq + 2, action)) == "SEQ_GAP"
        elif move == "conflict" and seq in sent:
            assert reason(peer.step(seq, 1 - sent[seq])) == "SEQ_CONFLICT"
        elif move == "bad":
            assert reason(peer.step_raw(seq + 1)) == "INVALID_ACTION"
        elif move == "epoch":
            peer.epoch += 1
            assert reason(peer.step(seq + 1, action)) == "EPOCH_CHANGED"
            peer.epoch -= 1
        assert peer.env.total_steps == total
    assert peer.env.total_steps == len(sent)
    peer.stop()


def test_a_client_may_ask_for_a_shorter_lease_and_not_for_a_longer_one():
    peer = Peer(Counter, ServerLimits(lease_seconds=20))
    leases = {}
    for asked in (0, 5_000, 60_000):
        opened = peer.host.open(open_request(key=f"a lease of {asked:06}".encode(), lease_ms=asked))
        leases[asked] = opened.lease_ms
        session = peer.host._sessions[opened.session.id]
        now = session._last_seen
        assert not session.expired(now + opened.lease_ms / 1000 - 1)
        assert session.expired(now + opened.lease_ms / 1000 + 1)
    assert leases == {0: 20_000, 5_000: 5_000, 60_000: 20_000}
    peer.stop()
