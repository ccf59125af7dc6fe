"""``rlbridge check``: a right server passes, and each wrong one is caught by the check that is meant to catch it."""

from __future__ import annotations

import json
import secrets

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from typer.testing import CliRunner

from rlbridge.check import CHECKS, UnknownCheck, check_target, run_checks
from rlbridge.cli import app
from rlbridge.client.local_link import LocalLink
from rlbridge.play.sampling import Sampling
from rlbridge.server import actions, rows
from rlbridge.server.catalog import Offer, load_catalog
from rlbridge.server.host import Host
from rlbridge.server.limits import ServerLimits
from rlbridge.server.rollout import Rollouts
from rlbridge.server.rows import EnvironmentRows
from rlbridge.server.session import Session
from rlbridge.server.single import SingleEnvironment
from rlbridge.wire.errors import InvalidAction, InvalidPolicy, SequenceExpired
from tests.envs import Counter

NAMES = [check.name for check in CHECKS]
WAITING = {"lease", "requests-renew", "keepalive"}  # these wait for real time to pass
TALKING = [name for name in NAMES if name not in WAITING and name != "render"]


def failed(results):
    return {result.name: result.seen for result in results if result.status == "fail"}


@pytest.fixture
def caught(monkeypatch):
    """Run checks against a host in this process, which a test has broken through ``monkeypatch``; who failed."""

    def run(offers="CartPole-v1", only=TALKING):
        host = Host(load_catalog(offers) if isinstance(offers, str) else offers, ServerLimits(max_sessions=8))
        try:
            return failed(run_checks(lambda: LocalLink(host), only=only, steps=600)).keys()
        finally:
            host.stop()

    return run


@pytest.mark.parametrize(
    ("env", "scheme"), [("CartPole-v1", "grpc"), ("CartPole-v1", "http"), ("tests.envs:Counter", "shm")]
)
def test_our_own_server_passes_everything_over_every_transport(serve, env, scheme, tmp_path):
    bind = f"shm://{tmp_path}/env.sock" if scheme == "shm" else f"{scheme}://127.0.0.1:0"
    results = list(check_target(serve(env, bind=bind).urls[0]))
    assert [result.name for result in results] == NAMES
    assert not [result for result in results if result.status == "fail"]
    # Drawing may not be installed; and a machine that is busy with other things may be too slow to renew a lease.
    skipped = {result.name for result in results if result.status == "skip"} - {"render", *WAITING}
    # Counter never truncates, and of both the server has every capability and every mode.
    assert skipped == {"unimplemented", "modes"} | ({"truncation"} if "Counter" in env else set())


def test_our_own_server_passes_with_every_kind_of_space_and_episodes_that_never_end(serve):
    results = {result.name: result for result in check_target(serve("tests.envs:AnySpace").urls[0], TALKING, steps=100)}
    assert not failed(results.values())
    assert "no episode ended in 100 steps" in results["same-step"].seen
    assert results["bad-actions"].seen.endswith("25 bad actions refused")


def test_every_environment_on_offer_is_looked_at(serve):
    offers = [Offer("first", Counter), Offer("second", lambda: Counter(truncate=True))]
    url = serve(offers).urls[0]
    results = {result.name: result for result in check_target(f"{url}/second", TALKING)}
    assert not failed(results.values())
    assert results["blocks"].seen == "2 environment(s), alone and in batches"
    assert results["truncation"].status == "pass"  # it is the second that the checks used


def test_a_native_batch_offers_the_one_mode_it_has(serve, tmp_path):
    (tmp_path / "serve.yaml").write_text("{env: CartPole-v1, vectorization: native}")
    only = ["opened", "modes", "next-step", "same-step", "disabled"]
    results = {result.name: result.status for result in check_target(serve(str(tmp_path)).urls[0], only)}
    assert [results[name] for name in only] == ["pass", "pass", "pass", "skip", "skip"]


def test_a_right_host_in_this_process_passes(caught):
    assert caught() == set()


def test_a_server_that_cannot_be_seeded_may_say_so(caught, monkeypatch):
    from rlbridge.wire.errors import Unsupported

    reset = SingleEnvironment.reset

    def unseeded(self, command):
        if command.seed is not None:
            raise Unsupported("this plant cannot be seeded")
        return reset(self, command)

    monkeypatch.setattr(SingleEnvironment, "reset", unseeded)
    assert caught(only=[name for name in TALKING if name not in ("next-step", "same-step")]) == set()


# ------------------------------------------------------------------------------------------------- broken servers


def test_outcomes_that_are_forgotten(caught, monkeypatch):
    def forgetful(self, request, seq):
        raise SequenceExpired("what was that?")

    monkeypatch.setattr(Session, "_replay", forgetful)
    replays = {"duplicates", "duplicate-reset", "kept-outcomes", "in-flight", "drop-mid-step", "drop-mid-reset"}
    assert caught() == replays | {"conflict", "rollout-twice"}


def test_fewer_outcomes_kept_than_promised(caught, monkeypatch):
    replay = Session._replay

    def short(self, request, seq):
        if seq < self.next_seq - 1:
            raise SequenceExpired("only the last one is kept")
        return replay(self, request, seq)

    monkeypatch.setattr(Session, "_replay", short)
    assert caught() == {"kept-outcomes"}


def test_more_outcomes_kept_than_promised(caught, monkeypatch):
    init = Session.__init__

    def hoarding(self, environment, limits, request):
        init(self, environment, ServerLimits(max_sessions=8, kept_outcomes=50), request)

    monkeypatch.setattr(Session, "__init__", hoarding)
    assert caught() == {"kept-outcomes"}


def test_a_duplicate_that_steps_again(caught, monkeypatch):
    replay = Session._replay

    def again(self, request, seq):
        response = replay(self, request, seq)
        if request.HasField("step"):
            self.environment.step(list(request.step.action))
        return response

    monkeypatch.setattr(Session, "_replay", again)
    assert caught() == {"duplicates", "in-flight", "drop-mid-step"}  # the last two are duplicates too


def test_a_duplicate_that_resets_again(caught, monkeypatch):
    replay = Session._replay

    def again(self, request, seq):
        response = replay(self, request, seq)
        if request.HasField("reset"):
            self._run(request.reset)
        return response

    monkeypatch.setattr(Session, "_replay", again)
    assert caught() == {"duplicate-reset", "drop-mid-reset"}


def test_a_rollout_that_is_made_again(caught, monkeypatch):
    replay = Session._replay

    def again(self, request, seq):
        if not request.HasField("rollout"):
            return replay(self, request, seq)
        made = self._run(request.rollout)
        made.rollout.seq, made.rollout.replayed = seq, True
        return made

    monkeypatch.setattr(Session, "_replay", again)
    assert caught() == {"rollout-twice"}


def test_a_rollout_that_does_not_do_what_it_tells(caught, monkeypatch):
    run = Rollouts.run

    def lying(self, request, observation, response, *others):
        run(self, request, observation, response, *others)
        response.action = bytes(byte ^ (at % 8 == 0) for at, byte in enumerate(response.action))  # the other action

    monkeypatch.setattr(Rollouts, "run", lying)
    assert caught() == {"rollout"}


def test_a_rollout_whose_chance_begins_anew(caught, monkeypatch):
    init = Sampling.__init__

    def forgetful(self, way, kind, actions, rows, steps, seed, first_step, *others):
        init(self, way, kind, actions, rows, steps, seed, 0, *others)

    monkeypatch.setattr(Sampling, "__init__", forgetful)
    assert caught() == {"rollout-chance"}


def test_a_refused_policy_that_uses_its_number_up(caught, monkeypatch):
    run = Session._run

    def using_up(self, body):
        try:
            return run(self, body)
        except InvalidPolicy:
            self._next_seq += 1
            raise

    monkeypatch.setattr(Session, "_run", using_up)
    assert caught() == {"rollout-policies"}


def test_different_content_taken_for_a_duplicate(caught, monkeypatch):
    monkeypatch.setattr("rlbridge.server.session._content", lambda request: b"")
    assert caught() == {"conflict"}


def test_gaps_that_are_ignored(caught, monkeypatch):
    execute = Session._execute_in_turn

    def gapless(self, request, body, arrived):
        if body.seq > self._next_seq:
            self._next_seq = body.seq
        return execute(self, request, body, arrived)

    monkeypatch.setattr(Session, "_execute_in_turn", gapless)
    assert caught() == {"gap"}


def test_a_refused_action_that_uses_its_number_up(caught, monkeypatch):
    run = Session._run

    def using_up(self, body):
        try:
            return run(self, body)
        except InvalidAction:
            self._next_seq += 1
            raise

    monkeypatch.setattr(Session, "_run", using_up)
    assert caught() == {"bad-actions", "bad-batch-action"}


def test_bad_actions_that_are_mended_in_silence(caught, monkeypatch):
    read = actions.ActionReader.read

    def lenient(self, blocks):
        try:
            return read(self, blocks)
        except InvalidAction:
            return np.int64(0)

    monkeypatch.setattr(actions.ActionReader, "read", lenient)
    assert caught() == {"bad-actions"}


def test_a_reset_before_the_final_observation_is_copied(caught, monkeypatch):
    def late(self, row, last, info, step):
        step.observations[row], reset_info = self._reset_row(row, None, None)
        step.final_rows.append(row)
        step.final_observations.append(self._pack_row(step.observations[row]))
        return reset_info

    monkeypatch.setattr(EnvironmentRows, "_end_row", late)
    assert caught() == {"final-observation"}


def test_a_reset_in_next_step_that_is_not_marked(caught, monkeypatch):
    step = EnvironmentRows.step

    def unmarked(self, action):
        outcome = step(self, action)
        outcome.was_reset = b""
        return outcome

    monkeypatch.setattr(EnvironmentRows, "step", unmarked)
    assert caught() == {"next-step"}


def test_disabled_that_steps_ended_rows(caught, monkeypatch):
    step = EnvironmentRows.step

    def careless(self, action):
        if self.autoreset_mode is AutoresetMode.DISABLED:
            self._ended = [False] * self.num_envs
        return step(self, action)

    monkeypatch.setattr(EnvironmentRows, "step", careless)
    assert caught() == {"disabled"}


@pytest.mark.parametrize("drops_truncated", [True, False])
def test_truncated_merged_into_terminated(caught, monkeypatch, drops_truncated):
    step = SingleEnvironment.step

    def merged(self, action):
        outcome = step(self, action)
        if outcome.truncated == b"\x01":
            outcome.terminated = b"\x01"
            if drops_truncated:
                outcome.truncated = b"\x00"
        return outcome

    monkeypatch.setattr(SingleEnvironment, "step", merged)
    assert caught() == {"truncation"}
    if not drops_truncated:  # that shows without knowing the environment
        assert caught([Offer("own", lambda: Counter(truncate=True))], ["truncation"]) == {"truncation"}


def test_seed_zero_taken_for_none(caught, monkeypatch):
    reset = SingleEnvironment.reset

    def truthy(self, command):
        return reset(self, type(command)(seed=command.seed or None, options=command.options))

    monkeypatch.setattr(SingleEnvironment, "reset", truthy)
    assert caught() == {"seed-zero"}


def test_seeds_that_are_dropped(caught, monkeypatch):
    reset = SingleEnvironment.reset
    monkeypatch.setattr(SingleEnvironment, "reset", lambda self, command: reset(self, type(command)()))
    assert caught() == {"seeds", "seed-zero"}


def test_one_seed_for_all_rows(caught, monkeypatch):
    monkeypatch.setattr(rows.EnvironmentRows, "_row_seeds", lambda self, command: [command.seed] * self.num_envs)
    assert caught() == {"batch-rows", "row-seeds"}


def test_an_older_holder_that_is_not_fenced(caught, monkeypatch):
    monkeypatch.setattr(Session, "check_attachment", lambda self, attachment: None)
    assert caught() == {"fencing"}


def test_a_late_resume_that_is_let_in(caught, monkeypatch):
    attach = Session.attach

    def forgetful(self, request):
        self._attempt = 0
        return attach(self, request)

    monkeypatch.setattr(Session, "attach", forgetful)
    assert caught() == {"late-resume"}


def test_a_resume_of_any_holder_that_is_let_in(caught, monkeypatch):
    attach = Session.attach

    def careless(self, request):
        request.take_over = True
        return attach(self, request)

    monkeypatch.setattr(Session, "attach", careless)
    assert caught() == {"take-over"}


def test_a_take_over_that_is_not_let_in(caught, monkeypatch):
    attach = Session.attach

    def stubborn(self, request):
        request.take_over = False
        return attach(self, request)

    monkeypatch.setattr(Session, "attach", stubborn)
    assert caught() == {"take-over"}


def test_an_open_key_that_is_not_looked_at(caught, monkeypatch):
    opening = Host.open

    def forgetful(self, request, caller=""):
        request.open_key = secrets.token_bytes(16)
        return opening(self, request, caller)

    monkeypatch.setattr(Host, "open", forgetful)
    assert caught() == {"open-key", "late-resume"}  # the key is also the holder


def test_limits_that_are_told_and_not_kept(caught, monkeypatch):
    monkeypatch.setattr(Host, "_check_capacity", lambda self, request: None)
    assert caught() == {"max-envs", "max-sessions"}


def test_a_size_that_is_not_looked_at(caught, monkeypatch):
    monkeypatch.setattr(Host, "_check_size", lambda *arguments: None)
    assert caught() == {"message-size"}


def test_a_lease_that_never_ends(caught, monkeypatch):
    monkeypatch.setattr(Session, "expired", lambda self, now: False)
    assert caught(only=["lease", "keepalive"]) == {"lease"}


def test_a_server_that_breaks_in_the_middle_fails_the_checks_that_are_left(monkeypatch):
    host = Host(load_catalog("CartPole-v1"))
    results = run_checks(lambda: LocalLink(host), only=["describe", "numbers", "gap"])
    assert next(results).status == "pass"
    monkeypatch.setattr(Host, "open", lambda self, request, caller="": 1 / 0)
    assert [(r.status, r.seen.partition(": ")[2][:18]) for r in results] == [("fail", "ZeroDivisionError:")] * 2
    host.stop()


def test_checks_that_the_time_is_not_enough_for_fail():
    host = Host(load_catalog("CartPole-v1"))
    results = list(run_checks(lambda: LocalLink(host), only=["describe", "gap"], total=-1.0))
    assert [(r.status, r.seen[:7]) for r in results] == [("fail", "not run")] * 2
    host.stop()


# ------------------------------------------------------------------------------------------------- the command line


def test_the_verb_prints_a_line_a_check_and_exits_with_0(serve):
    done = CliRunner().invoke(app, ["check", serve("CartPole-v1").urls[0], "--only", "gap", "--only", "resume"])
    assert done.exit_code == 0
    lines = [line.split(maxsplit=3) for line in done.stdout.splitlines()]
    assert lines[0] == ["pass", "gap", "required", "as expected"]
    assert lines[1] == ["pass", "resume", "resume", "as expected"]
    assert done.stdout.splitlines()[2] == "2 passed, 0 failed, 0 skipped"


def test_a_failure_tells_what_was_expected_and_seen_and_exits_with_1(serve, monkeypatch):
    monkeypatch.setattr(Session, "check_attachment", lambda self, attachment: None)
    url = serve("CartPole-v1").urls[0]
    done = CliRunner().invoke(app, ["check", url, "--only", "fencing"])
    assert done.exit_code == 1
    expected = "expected SUPERSEDED for a request of the older holder; seen an answer to reset 2"
    assert expected in done.stdout
    done = CliRunner().invoke(app, ["check", url, "--only", "fencing", "--json"])
    assert done.exit_code == 1
    report = json.loads(done.stdout)
    assert report["counts"] == {"pass": 0, "fail": 1, "skip": 0}
    (result,) = report["checks"]
    assert result == {
        "name": "fencing",
        "needs": "resume",
        "status": "fail",
        "expected": "SUPERSEDED for a request of the older holder",
        "seen": "an answer to reset 2",
    }


def test_no_server_exits_with_3_and_bad_arguments_with_2(serve):
    url = serve("CartPole-v1").urls[0]
    assert CliRunner().invoke(app, ["check", "grpc://127.0.0.1:1"]).exit_code == 3
    assert CliRunner().invoke(app, ["check", "CartPole-v1"]).exit_code == 2
    assert CliRunner().invoke(app, ["check", url, "--only", "gaps"]).exit_code == 2
    with pytest.raises(UnknownCheck, match="no check is called gaps; there are describe, "):
        check_target(url, ["gaps"])


def test_every_check_says_its_rule():
    assert len(set(NAMES)) == len(NAMES)
    for check in CHECKS:
        assert check.rule.endswith("."), check.name
