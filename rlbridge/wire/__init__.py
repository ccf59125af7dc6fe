"""Numpy and Gymnasium to protobuf and back: tensors, values (infos, options), spaces, samples, blocks, errors.

Nothing here knows a transport, a session or an environment. Every reader checks sizes before it allocates and
raises ``WireError`` on bytes that make no sense.
"""

from rlbridge.wire.blocks import BlockCodec
from rlbridge.wire.spaces import decode_space, encode_space
from rlbridge.wire.tensors import decode_tensor, encode_tensor
from rlbridge.wire.values import Opaque, decode_value, encode_value

PROTOCOL_VERSION = 1

__all__ = [
    "PROTOCOL_VERSION",
    "BlockCodec",
    "Opaque",
    "decode_space",
    "decode_tensor",
    "decode_value",
    "encode_space",
    "encode_tensor",
    "encode_value",
]
