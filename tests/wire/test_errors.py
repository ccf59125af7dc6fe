"""Exceptions to messages and back, and that the contract documents them."""

import re
from pathlib import Path

import pytest

from rlbridge.v1 import env_pb2
from rlbridge.wire.errors import BridgeError, SessionExpired, WireError, decode_error, encode_error

CLASSES = [*BridgeError.__subclasses__(), SessionExpired]
PROTO = Path(__file__).resolve().parents[2] / "protos" / "rlbridge" / "v1" / "env.proto"


def travel(error):
    return decode_error(env_pb2.Error.FromString(encode_error(error).SerializeToString()))


@pytest.mark.parametrize("cls", [BridgeError, *CLASSES])
def test_every_error_survives(cls):
    error = cls("row 3 is wrong: 7 of 5", remote_traceback="Traceback ...", leaf="a/b", limit=5, got=None)
    got = travel(error)
    assert type(got) is cls
    assert got.args == ("row 3 is wrong: 7 of 5",)
    assert got.details == {"leaf": "a/b", "limit": "5", "got": "None"}
    assert got.remote_traceback == "Traceback ..."
    assert str(got) == str(error) == "row 3 is wrong: 7 of 5\n\nRemote traceback:\nTraceback ..."
    with pytest.raises(cls, match="row 3"):
        raise got


@pytest.mark.parametrize("cls", CLASSES)
def test_an_error_is_told_on_the_wire_by_its_code_and_reason(cls):
    message = encode_error(cls("x"))
    assert (message.code, message.reason) == (cls.code, cls.reason)
    assert str(travel(cls("x"))) == "x"


def test_an_unknown_reason_becomes_a_plain_error_that_names_it():
    got = decode_error(env_pb2.Error(code=9, reason="FROM_THE_FUTURE", message="no", details={"a": "b"}))
    assert type(got) is BridgeError
    assert str(got) == "FROM_THE_FUTURE: no"
    assert got.details == {"a": "b"}


def test_an_empty_message_still_says_something():
    assert str(decode_error(env_pb2.Error())) == "unknown error: the server gave no message"
    assert str(decode_error(env_pb2.Error(reason="SEQ_GAP"))) == "the server gave no message"


def test_text_that_is_not_valid_unicode_is_escaped_and_not_an_error_of_its_own():
    got = travel(WireError("file \udcff", remote_traceback="line \ud800", name="x\udfff"))
    assert str(got.args[0]) == "file \\udcff"
    assert got.remote_traceback == "line \\ud800"
    assert got.details == {"name": "x\\udfff"}


def test_python_can_catch_errors_by_its_own_classes():
    own = {
        cls.__name__: base for cls in CLASSES for base in (ValueError, LookupError, OSError) if issubclass(cls, base)
    }
    assert own == {
        "WireError": ValueError,
        "InvalidPolicy": ValueError,
        "InvalidAction": ValueError,
        "DeadlineExceeded": OSError,
        "UnknownEnvironment": LookupError,
        "UnknownPolicy": LookupError,
        "PermissionDenied": OSError,
        "Unavailable": OSError,
        "Unauthenticated": OSError,
    }


def test_reasons_are_unique_and_all_in_the_contracts_table_with_their_codes():
    reasons = [cls.reason for cls in [BridgeError, *CLASSES]]
    assert len(set(reasons)) == len(reasons)
    comment = PROTO.read_text().split("The reasons and their codes:")[1].split("string reason = 2;")[0]
    table = {reason: int(code) for reason, code in re.findall(r"^  //   ([A-Z_]+) +(\d+)   \S", comment, re.MULTILINE)}
    assert len(table) == len(re.findall(r"^  //   \S", comment, re.MULTILINE))
    # The base class stands for what went wrong in the server itself.
    table.pop("INTERNAL", None)
    assert table == {cls.reason: cls.code for cls in CLASSES}
