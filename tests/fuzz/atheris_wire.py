"""Coverage-guided fuzzing of all that reads bytes: ``make fuzz-wire``. Arguments are libFuzzer's.

The first byte chooses the reader, the rest is what it reads. Whatever comes, a reader returns or raises ``WireError``;
and what it returned can be written again. No test of the suite: Atheris is for Linux and for some versions of Python.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import warnings
from pathlib import Path

try:
    import atheris
except ModuleNotFoundError:
    sys.exit("Atheris is not installed: pip install atheris (Linux; wheels for CPython 3.11 to 3.13)")

from google.protobuf.message import DecodeError

with atheris.instrument_imports(include=["rlbridge.wire"]):
    from rlbridge.v1 import env_pb2, spaces_pb2, values_pb2
    from rlbridge.wire import (
        BlockCodec,
        decode_space,
        decode_tensor,
        decode_value,
        encode_space,
        encode_tensor,
        encode_value,
    )
    from rlbridge.wire.errors import WireError, decode_error, encode_error

from tests.wire.strategies import HAND_MADE

CODECS = [BlockCodec(space) for space in HAND_MADE.values()]


def read_space(data: bytes) -> None:
    space = decode_space(spaces_pb2.Space.FromString(data))
    encode_space(space)
    BlockCodec(space).layout()


def read_value(data: bytes) -> None:
    encode_value(decode_value(values_pb2.Value.FromString(data)))


def read_tensor(data: bytes) -> None:
    encode_tensor(decode_tensor(values_pb2.Tensor.FromString(data)))


def read_error(data: bytes) -> None:
    encode_error(decode_error(env_pb2.Error.FromString(data)))


def read_blocks(data: bytes) -> None:
    """Of a space that the first byte chooses; the second one tells the rows, 0 for none."""
    codec, rows, rest = CODECS[data[0] % len(CODECS)], data[1] % 4, data[2:]
    share = len(rest) // max(len(codec.leaves), 1)
    blocks = [rest[i * share : (i + 1) * share] for i in range(len(codec.leaves))]
    if rows:
        codec.unstack(blocks, rows)
        codec.unpack_batch(blocks, rows)
    else:
        codec.unpack(blocks)


READERS = [read_space, read_value, read_tensor, read_error, read_blocks]


def seeds() -> list[bytes]:
    """What honest peers send, to begin with."""
    found = [bytes([3]) + encode_error(WireError("what happened", got="x")).SerializeToString()]
    for i, (space, codec) in enumerate(zip(HAND_MADE.values(), CODECS, strict=True)):
        space.seed(1)
        sample = space.sample()
        found.append(bytes([0]) + encode_space(space).SerializeToString())
        found.append(bytes([4, i, 0]) + b"".join(codec.pack(sample)))
        found.append(bytes([4, i, 2]) + b"".join(codec.stack([sample, sample])))
        try:
            found.append(bytes([1]) + encode_value({"sample": sample, "list": [1, 2.5, None, "x"]}).SerializeToString())
        except WireError:  # a sample that is no value, as of a Graph
            continue
    return found


def attack(data: bytes) -> None:
    if len(data) < 3:
        return
    with contextlib.suppress(WireError, DecodeError):
        READERS[data[0] % len(READERS)](data[1:])


def main() -> None:
    warnings.simplefilter("ignore")  # Gymnasium's, about spaces of a strange shape
    with tempfile.TemporaryDirectory() as corpus:
        for i, seed in enumerate(seeds()):
            (Path(corpus) / str(i)).write_bytes(seed)
        atheris.Setup([*sys.argv, "-rss_limit_mb=2048", "-timeout=20", corpus], attack)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
