"""Messages that nobody should send: valid ones, cut, flipped, swollen and nested."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from rlbridge.v1 import env_pb2, values_pb2

# How many inputs a test tries: a few hundred in the fast suite, 20,000 with `make fuzz`.
fuzzed = settings(
    max_examples=int(os.environ.get("FUZZ_INPUTS", "400")),
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)

REFERENCE = env_pb2.SessionRef(id="0123456789abcdef", token=b"0123456789abcdef", attachment=1)


def nested(depth: int) -> values_pb2.Value:
    """A list in a list in a list ..."""
    value = values_pb2.Value()
    inner = value
    for _ in range(depth):
        inner = inner.list.items.add()
    inner.integer = 1
    return value


SEEDS: dict[str, list[bytes]] = {
    method: [message.SerializeToString() for message in messages]
    for method, messages in {
        "Describe": [env_pb2.DescribeRequest(protocol_versions=[1, 2, 3], client="fuzz")],
        "Spaces": [env_pb2.SpacesRequest(), env_pb2.SpacesRequest(environment="x" * 5000)],
        "Open": [
            env_pb2.OpenRequest(protocol_version=1, num_envs=n, open_key=b"k" * 16, render_mode=mode, autoreset_mode=3)
            for n, mode in ((0, ""), (3, "rgb_array"), (2**32 - 1, "ansi"))
        ],
        "Resume": [env_pb2.ResumeRequest(session_id="s", token=b"t" * 16, epoch=7)],
        "KeepAlive": [env_pb2.KeepAliveRequest(session=REFERENCE, epoch=7)],
        "Close": [env_pb2.CloseRequest(session=REFERENCE, epoch=7)],
        "Reset": [
            env_pb2.ResetRequest(session=REFERENCE, seq=1, epoch=7, seed=2**64 - 1, options=nested(5)),
            env_pb2.ResetRequest(session=REFERENCE, seq=1, options=nested(30), reset_mask=b"\x01" * 1000),
        ],
        "Step": [
            env_pb2.StepRequest(session=REFERENCE, seq=2**63, epoch=7, action=[b"", b"\xff" * 8, b"x" * 4096]),
        ],
        "Render": [env_pb2.RenderRequest(session=REFERENCE, seq=1, epoch=7)],
    }.items()
}
METHODS = sorted(SEEDS)
DEEP = b"\x0a\x82\x00" * 200  # groups of fields that claim to hold each other


def varint(number: int) -> bytes:
    """Protobuf's form of a number."""
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes(out) + bytes([number])


EXCHANGES = [
    bytes([tag]) + varint(len(data)) + data  # an ExchangeRequest that holds the request
    for tag, method in ((0x0A, "Step"), (0x12, "Reset"), (0x1A, "Render"))
    for data in SEEDS[method]
]


@st.composite
def mutated(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """One of the seeds after up to six accidents, or plain noise."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for kind in draw(
        st.lists(st.sampled_from(["flip", "cut", "insert", "repeat", "noise", "deep", "length"]), max_size=6)
    ):
        at = draw(st.integers(0, len(data)))
        if kind == "flip" and data:
            data[at % len(data)] ^= 1 << draw(st.integers(0, 7))
        elif kind == "cut":
            del data[at:]
        elif kind == "insert":
            data[at:at] = draw(st.binary(max_size=20))
        elif kind == "repeat":
            data = data[: 2**15] * draw(st.integers(1, 4))
        elif kind == "noise":
            data = bytearray(draw(st.binary(max_size=200)))
        elif kind == "deep":
            data[at:at] = DEEP
        elif kind == "length":
            data[at:at] = b"\x12\xff\xff\xff\xff\x0f"  # a field that claims to be four gigabytes long
    return bytes(data)
