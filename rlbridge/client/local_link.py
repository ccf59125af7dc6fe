"""A link to a host in this very process: the whole path but the network."""

from __future__ import annotations

import sys
from collections import deque
from typing import Any

from rlbridge.v1 import env_pb2
from rlbridge.wire.errors import decode_error


class LocalLink:
    """Calls a ``rlbridge.server.Host`` that is handed to it. Every message is serialised, as on a wire."""

    ahead = sys.maxsize

    def __init__(self, host: Any) -> None:
        self._host = host
        self._exchange = host.exchange()
        self._answers: deque[bytes] = deque()

    def call(self, request: Any, timeout: float) -> Any:
        calls = {
            env_pb2.DescribeRequest: self._host.describe,
            env_pb2.SpacesRequest: self._host.spaces,
            env_pb2.OpenRequest: self._host.open,
            env_pb2.CloseRequest: self._host.close,
            env_pb2.ResumeRequest: self._host.resume,
            env_pb2.KeepAliveRequest: self._host.keep_alive,
            env_pb2.ResetRequest: lambda body: self._unwrapped(env_pb2.ExchangeRequest(reset=body)).reset,
            env_pb2.StepRequest: lambda body: self._unwrapped(env_pb2.ExchangeRequest(step=body)).step,
            env_pb2.RenderRequest: lambda body: self._unwrapped(env_pb2.ExchangeRequest(render=body)).render,
            env_pb2.RolloutRequest: lambda body: self._unwrapped(env_pb2.ExchangeRequest(rollout=body)).rollout,
        }
        return calls[type(request)](request)

    def _unwrapped(self, request: env_pb2.ExchangeRequest) -> env_pb2.ExchangeResponse:
        response: env_pb2.ExchangeResponse = self._host.execute(request)
        if response.HasField("error"):
            raise decode_error(response.error)
        return response

    @property
    def streaming(self) -> bool:
        return bool(self._exchange.attached)

    def send(self, request: env_pb2.ExchangeRequest) -> None:
        received = env_pb2.ExchangeRequest.FromString(request.SerializeToString())
        self._answers.append(self._exchange.execute(received).SerializeToString())

    def receive(self, timeout: float) -> env_pb2.ExchangeResponse:
        return env_pb2.ExchangeResponse.FromString(self._answers.popleft())

    def drop(self) -> None:
        self._answers.clear()
        self._exchange = self._host.exchange()

    def close(self) -> None:
        self._answers.clear()
