"""The client: remote environments that *are* Gymnasium environments."""

from rlbridge.gymnasium_versions import needs_modern

needs_modern("the client")

from rlbridge.client.env import RemoteEnv  # noqa: E402
from rlbridge.client.make import make, make_vec  # noqa: E402
from rlbridge.client.rollout import Rollout, RolloutPolicy, RolloutResult  # noqa: E402
from rlbridge.client.vector_env import RemoteVectorEnv  # noqa: E402
from rlbridge.wire.errors import Unsupported  # noqa: E402

__all__ = [
    "RemoteEnv",
    "RemoteVectorEnv",
    "Rollout",
    "RolloutPolicy",
    "RolloutResult",
    "Unsupported",
    "make",
    "make_vec",
]
