"""Whatever a client sends, in whatever order: what is applied is within limits and rates, and the audit says why."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlbridge.plants import Clock, Gate, Interlock, PlantEnv, PlantVectorEnv
from rlbridge.plants.audit import AuditBroken, digest
from rlbridge.plants.replay import verify
from rlbridge.server.catalog import Offer
from rlbridge.server.host import Host
from rlbridge.v1 import env_pb2
from tests.plants.tanks import SIGNALS, Tank, Tanks

ACTIONS = SIGNALS[1:]
PERIOD = 0.7
LEVEL = Interlock(when="level > 5.3 or pump > 1.9", then={"pump": -2.0}, until="level < 5.1")
WILD = (
    st.floats(width=32) | st.sampled_from([np.nan, np.inf, -np.inf, 3.4e38, -0.0, 1e-45]) | st.floats(-2, 2, width=32)
)
BLOCKS = st.lists(WILD, min_size=2, max_size=2).map(lambda values: np.array(values, np.float32).tobytes()) | st.binary(
    max_size=16
)
SENT = st.lists(st.tuples(st.sampled_from(["next", "again", "old", "ahead", "other"]), BLOCKS), max_size=25)


class Client:
    """Speaks to a host as a client might that is broken or evil; the plant is in this process, to look at."""

    def __init__(self, folder: Path, mode: str) -> None:
        gate = Gate(mode=mode, interlocks=(LEVEL,), audit="audit.jsonl")
        self.made: list[Tank] = []

        def make():
            self.made.append(Tank())
            return PlantEnv(self.made[-1], gate=gate, clock=Clock(period=PERIOD), folder=folder)

        self.host = Host([Offer("tank", make, bounds="finite")])
        self.opened = self.host.open(env_pb2.OpenRequest(protocol_version=1, open_key=b"0123456789abcdef"))
        self.plant = self.made[-1]
        self.seq, self.last = 1, b""
        reset = env_pb2.ResetRequest(session=self.opened.session, seq=1, epoch=self.opened.epoch)
        self.host.execute(env_pb2.ExchangeRequest(reset=reset))

    def send(self, how: str, block: bytes) -> None:
        seq = {"next": 1, "again": 0, "old": -3, "ahead": 5, "other": 0}[how] + self.seq
        block = self.last if how == "again" else block
        request = env_pb2.StepRequest(
            session=self.opened.session, seq=max(seq, 0), epoch=self.opened.epoch, action=[block]
        )
        answer = self.host.execute(env_pb2.ExchangeRequest(step=request))
        if how == "next" and answer.WhichOneof("response") == "step":
            self.seq, self.last = seq, block


@settings(max_examples=120, deadline=None)
@given(SENT)
def test_any_stream_of_requests_leaves_the_plant_within_limits_and_rates(sent):
    with tempfile.TemporaryDirectory() as folder:
        client = Client(Path(folder), "active")
        before, steps = {"valve": 0.5, "pump": 0.0}, 1
        for how, block in sent:
            client.send(how, block)
            steps = max(steps, client.seq)
        assert len(client.plant.written) == client.seq - 1  # one for every step that was new and in turn, no other
        client.host.stop()
        records = [json.loads(line) for line in (Path(folder) / "audit.jsonl").read_text().splitlines()]
        acts = [record for record in records if record["event"] == "act"]
        assert [record["applied"] for record in acts] == client.plant.written
        for record in acts:
            for signal in ACTIONS:
                value, why = record["applied"][signal.name], record.get("why", {}).get(signal.name, [])
                assert signal.low <= value <= signal.high
                if signal.max_rate is not None and not {"interlock", "trip"} & set(why):
                    assert abs(value - before[signal.name]) <= signal.max_rate * PERIOD * (1 + 1e-12)
            before = record["applied"]
        assert client.plant.written[-1:] == [{"valve": 0.0, "pump": -1.0}]  # the session's end
        assert verify(Path(folder) / "audit.jsonl").written == len(client.plant.written)


@settings(max_examples=40, deadline=None)
@given(SENT, st.sampled_from(["observe", "shadow", "advise"]))
def test_in_shadow_the_write_counter_stays_at_zero(sent, mode):
    with tempfile.TemporaryDirectory() as folder:
        client = Client(Path(folder), mode)
        for how, block in sent:
            client.send(how, block)
        client.host.stop()
        assert client.plant.written == []
        assert verify(Path(folder) / "audit.jsonl").written == 0


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(WILD, min_size=6, max_size=6), max_size=20), st.integers(0, 2**31))
def test_a_batch_stays_within_limits_and_its_audit_replays(rows, seed):
    with tempfile.TemporaryDirectory() as folder:
        plant = Tanks(3)
        gate = Gate(interlocks=(LEVEL,), audit="audit.jsonl")
        envs = PlantVectorEnv(plant, gate=gate, folder=Path(folder), clock=Clock(period=PERIOD))
        envs.reset(seed=seed)
        for row in rows:
            before = plant.points
            try:
                *_, infos = envs.step(np.array(row, np.float32).reshape(3, 2))
            except ValueError:
                assert plant.points is before
                continue
            valve = infos["applied"][:, 0]
            assert ((valve >= 0) & (valve <= 1)).all()
            assert (np.abs(infos["applied"][:, 1]) <= 2).all()
            assert (np.abs(valve - before["valve"]) <= 0.25 * PERIOD * (1 + 1e-12)).all()
        envs.close()
        verify(Path(folder) / "audit.jsonl")


@pytest.fixture
def audit(tmp_path):
    env = PlantEnv(Tank(), gate=Gate(interlocks=(LEVEL,), audit="audit.jsonl"), folder=tmp_path)
    env.reset()
    for i in range(10):
        env.step(np.array([i % 2, 1.0], np.float32))
    env.close()
    return tmp_path / "audit.jsonl"


def test_an_untouched_audit_is_in_order(audit):
    done = verify(audit)
    assert (done.decisions, done.written) == (11, 11)
    assert verify(audit, head=done.head) == done


def test_every_change_of_a_byte_is_found(audit):
    content = audit.read_bytes()
    for at in range(0, len(content), 53):
        audit.write_bytes(content[:at] + bytes([content[at] ^ (1 + at % 32)]) + content[at + 1 :])
        with pytest.raises(AuditBroken):
            verify(audit)


@pytest.mark.parametrize("harm", ["drop", "swap", "repeat", "cut", "alter"])
def test_lines_cannot_be_removed_moved_or_repeated(audit, harm):
    lines = audit.read_bytes().splitlines(keepends=True)
    head = verify(audit).head
    if harm == "drop":
        del lines[4]
    elif harm == "swap":
        lines[4], lines[5] = lines[5], lines[4]
    elif harm == "repeat":
        lines.insert(5, lines[4])
    elif harm == "alter":
        record = {**json.loads(lines[4]), "by": "somebody else"}  # with a hash of its own that fits
        lines[4] = json.dumps(record | {"hash": digest(record)}, separators=(",", ":")).encode() + b"\n"
    else:
        del lines[-2:]  # the chain cannot tell; the hash that somebody noted down can
    audit.write_bytes(b"".join(lines))
    with pytest.raises(AuditBroken):
        verify(audit, head)


def test_a_forged_decision_is_found_even_with_a_chain_made_anew(audit):
    records = [json.loads(line) for line in audit.read_text().splitlines()]
    victim = next(record for record in records if record["event"] == "act" and record.get("why"))
    victim["applied"]["valve"] += 0.1
    head = "0" * 64
    for record in records:
        record["prev"] = head
        record["hash"] = head = digest(record)
    audit.write_text("".join(json.dumps(record, separators=(",", ":")) + "\n" for record in records))
    with pytest.raises(AuditBroken, match=r"valve = .* is noted as applied, but these rules give"):
        verify(audit)


def test_a_line_that_a_dying_machine_left_unfinished_is_kept_apart(audit, tmp_path):
    with audit.open("ab") as file:
        file.write(b'{"n":14,"at":17')
    env = PlantEnv(Tank(), gate=Gate(audit="audit.jsonl"), folder=tmp_path)
    env.reset()
    env.close()
    assert verify(audit).decisions == 12
    assert '"torn":"{\\"n\\":14,\\"at\\":17"' in audit.read_text()
