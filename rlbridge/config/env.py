"""The ``env`` section: where the environments are."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from rlbridge.config.section import Count, NotNegative, Positive, Section


class CredentialsConfig(Section):
    """What is shown to a server, and what must be seen of it; else RLBRIDGE_TOKEN and RLBRIDGE_TLS_* are taken."""

    token_file: str | None = None
    """A file with the bearer token."""
    tls_ca: str | None = None
    """PEM file of the authority that signed the server's certificate."""
    tls_cert: str | None = None
    """PEM file of this client's own certificate, where the server wants one."""
    tls_key: str | None = None
    """PEM file of its private key."""


class EnvConfig(Section):
    """Where the environments are, and how many of them step together."""

    target: str = Field(default="CartPole-v1", min_length=1)
    """Gymnasium id, module:factory, file.py:factory, or a URL such as grpc://host:50051[/env]."""
    num_envs: Count = 8
    """How many copies step together as one batch."""
    sessions: Count = 1
    """Equal parts of the batch that step by turns; 2: the policy acts for one half while the other one steps."""
    placement: Literal["step", "edge"] = "step"
    """Where the policy runs: step = here, one message a step; edge = on the server, many steps a message."""
    overlap: int = Field(default=1, ge=0)
    """Edge: rollouts asked for ahead of the one learned from, each by a policy that is one rollout older; 0 = none."""
    chunk: Count | None = None
    """Edge: steps of each environment in one message; else a whole rollout (ppo, and never more) or 32."""
    kwargs: dict[str, Any] = {}
    """Keyword arguments for a local target's factory."""
    processes: bool = False
    """Local: a process of its own for each environment; pays where a step takes longer than 0.1 ms or so."""
    timeout: Positive = 60.0
    """Remote: seconds allowed for one attempt at a call; processes: for one step of all."""
    retry_for: NotNegative = 120.0
    """Remote: seconds during which an unanswered call is attempted again; 0 = not at all."""
    credentials: CredentialsConfig = CredentialsConfig()
    """Remote: token and TLS."""

    def client_options(self) -> dict[str, Any]:
        """What `make_vec` takes beside the target: the connection's options, or the local factory's arguments."""
        if "://" not in self.target:
            return self.kwargs
        credentials = self.credentials.model_dump()
        return {"timeout": self.timeout, "retry_for": self.retry_for, "credentials": credentials}

    @field_validator("target", mode="before")
    @classmethod
    def _one_target(cls, value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            raise ValueError("a fleet (a list of targets) is not available yet; give one target")
        return value

    @model_validator(mode="after")
    def _sessions_are_equal(self) -> EnvConfig:
        if self.num_envs % self.sessions:
            raise ValueError(
                f"env.num_envs = {self.num_envs} cannot be shared out evenly over {self.sessions} sessions"
            )
        if self.sessions > 1 and self.placement == "edge":
            raise ValueError(f"env.sessions = {self.sessions} has no effect with env.placement = edge, only with step")
        return self

    @model_validator(mode="after")
    def _kwargs_are_local(self) -> EnvConfig:
        if self.kwargs and "://" in self.target:
            raise ValueError(f"env.kwargs go to a local factory, but {self.target!r} is on a server; set them there")
        if self.processes and "://" in self.target:
            raise ValueError(f"env.processes is for local environments, but {self.target!r} is on a server")
        if self.placement == "edge" and "://" not in self.target:
            raise ValueError(
                f"env.placement = edge runs the policy on a server, but {self.target!r} is local; serve it (`rlbridge "
                "serve`), or leave placement out"
            )
        if self.placement == "step" and self.chunk is not None:
            raise ValueError("env.chunk has no effect with env.placement = step, only with edge")
        if self.placement == "step" and self.overlap != 1:
            raise ValueError("env.overlap has no effect with env.placement = step, only with edge")
        return self
