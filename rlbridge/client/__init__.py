"""The client: remote environments that *are* Gymnasium environments."""

from rlbridge.client.env import RemoteEnv
from rlbridge.client.make import make, make_vec
from rlbridge.client.vector_env import RemoteVectorEnv
from rlbridge.wire.errors import Unsupported

__all__ = ["RemoteEnv", "RemoteVectorEnv", "Unsupported", "make", "make_vec"]
