"""The end of an audit, as it is shown to operators."""

import json

from rlbridge.plants.audit import AuditLog
from rlbridge.plants.audit_tail import AuditTail


def test_the_last_records_and_the_session_they_belong_to(tmp_path):
    path = tmp_path / "audit.jsonl"
    tail = AuditTail(path)
    assert (tail.records(), tail.opening()) == ([], {})
    log = AuditLog(path)
    log.append({"event": "open", "by": "first", "pad": "x" * 500_000})
    assert tail.opening()["by"] == "first"
    for _ in range(2_000):
        log.append({"event": "act", "why": '"event":"open"', "pad": "x" * 1_000})
    assert tail.opening()["by"] == "first"
    assert AuditTail(path).opening()["by"] == "first"
    log.append({"event": "open", "by": "second"})
    assert tail.opening()["by"] == "second"
    with path.open("ab") as file:
        file.write(b'{"event":"open","by":"thi')  # a writer in the middle of a line
    assert tail.opening()["by"] == "second"
    assert tail.records()[-1]["by"] == "second"
    assert 30 < len(tail.records()) < 70  # 64 KiB
    assert all(record["event"] in ("act", "open") for record in tail.records())


def test_a_new_file_in_its_place_is_read_anew(tmp_path):
    path = tmp_path / "audit.jsonl"
    path.write_text(json.dumps({"event": "open", "by": "old"}, separators=(",", ":")) + "\n" + " " * 2_000_000 + "\n")
    tail = AuditTail(path)
    assert tail.opening()["by"] == "old"
    path.rename(tmp_path / "kept.jsonl")
    assert tail.opening() == {}
    path.write_text("nonsense\n[1]\n" + json.dumps({"event": "open", "by": "new"}, separators=(",", ":")) + "\n")
    assert tail.opening()["by"] == "new"
    assert [record["by"] for record in tail.records()] == ["new"]
