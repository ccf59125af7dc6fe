"""The client: remote environments that *are* Gymnasium environments."""

from rlbridge.client.make import make, make_vec

__all__ = ["make", "make_vec"]
