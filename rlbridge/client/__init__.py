"""The client: remote environments that *are* Gymnasium environments."""

from rlbridge.client.env import RemoteEnv
from rlbridge.client.make import make, make_vec
from rlbridge.client.vector_env import RemoteVectorEnv

__all__ = ["RemoteEnv", "RemoteVectorEnv", "make", "make_vec"]
