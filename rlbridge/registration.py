"""Makes ``gymnasium.make("rlbridge/Remote-v0", target=...)`` work."""

from __future__ import annotations

from gymnasium.envs.registration import register, registry


def register_remote() -> None:
    """Register the remote environment, once. Imports nothing of the client: that waits until somebody makes one."""
    if "rlbridge/Remote-v0" in registry:
        return
    register(
        id="rlbridge/Remote-v0",
        entry_point="rlbridge.client.env:RemoteEnv",
        vector_entry_point="rlbridge.client.vector_env:RemoteVectorEnv",
        # The environment's own wrappers (time limit, order enforcing) run at the server.
        order_enforce=False,
        disable_env_checker=True,
    )
