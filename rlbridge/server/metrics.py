"""What a server counts, for Prometheus. Off unless asked for; then the host itself counts."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from rlbridge.server.catalog import Offer
from rlbridge.server.exchange import Exchange
from rlbridge.server.host import Host
from rlbridge.server.limits import ServerLimits
from rlbridge.server.session import Request, Response
from rlbridge.v1 import env_pb2
from rlbridge.wire.errors import BridgeError

_SECONDS = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)


class Metrics:
    """The counters of one server, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        make: dict[str, Any] = {"registry": self.registry}
        self.sessions = Gauge("rlbridge_sessions", "Sessions open now.", **make)
        self.max_sessions = Gauge("rlbridge_sessions_limit", "Sessions that may be open at a time.", **make)
        self.calls = Counter("rlbridge_calls", "Calls, by their name.", ["call"], **make)
        self.seconds = Histogram(
            "rlbridge_call_seconds", "Time a call took inside the server.", ["call"], buckets=_SECONDS, **make
        )
        self.environment_seconds = Histogram(
            "rlbridge_environment_seconds",
            "Time a reset or step spent in the environment.",
            ["call"],
            buckets=_SECONDS,
            **make,
        )
        self.steps = Counter(
            "rlbridge_environment_steps", "Steps of single environments; a batch of N counts N.", **make
        )
        self.replays = Counter("rlbridge_replays", "Repeated requests that were answered with a kept outcome.", **make)
        self.resumes = Counter("rlbridge_resumes", "Sessions attached to again after a lost connection.", **make)
        self.errors = Counter("rlbridge_errors", "Errors answered, by their reason.", ["reason"], **make)

    def text(self) -> bytes:
        """All of it, in Prometheus's text format, version 0.0.4."""
        return generate_latest(self.registry)


class MeasuredHost(Host):
    """A host that counts what it is asked. Arguments and the rest as ``Host``.

    Attributes:
        metrics: the counters.
    """

    def __init__(self, offers: Sequence[Offer], limits: ServerLimits | None = None) -> None:
        self.metrics = Metrics()
        super().__init__(offers, limits)
        self.metrics.sessions.set_function(self._open_sessions)
        self.metrics.max_sessions.set(self.limits.max_sessions)

    def _open_sessions(self) -> float:
        return super().describe(env_pb2.DescribeRequest()).limits.open_sessions

    def _measured(self, name: str, call: Callable[[Any], Any], request: Any) -> Any:
        started = time.perf_counter()
        try:
            return call(request)
        except BridgeError as error:
            self.metrics.errors.labels(error.reason).inc()
            raise
        finally:
            self.metrics.calls.labels(name).inc()
            self.metrics.seconds.labels(name).observe(time.perf_counter() - started)

    def describe(self, request: env_pb2.DescribeRequest) -> env_pb2.DescribeResponse:
        answer: env_pb2.DescribeResponse = self._measured("Describe", super().describe, request)
        return answer

    def spaces(self, request: env_pb2.SpacesRequest) -> env_pb2.SpacesResponse:
        answer: env_pb2.SpacesResponse = self._measured("Spaces", super().spaces, request)
        return answer

    def open(self, request: env_pb2.OpenRequest, caller: str = "") -> env_pb2.OpenResponse:
        opening = super().open
        answer: env_pb2.OpenResponse = self._measured("Open", lambda request: opening(request, caller), request)
        return answer

    def resume(self, request: env_pb2.ResumeRequest) -> env_pb2.ResumeResponse:
        answer: env_pb2.ResumeResponse = self._measured("Resume", super().resume, request)
        self.metrics.resumes.inc()
        return answer

    def keep_alive(self, request: env_pb2.KeepAliveRequest) -> env_pb2.KeepAliveResponse:
        answer: env_pb2.KeepAliveResponse = self._measured("KeepAlive", super().keep_alive, request)
        return answer

    def close(self, request: env_pb2.CloseRequest) -> env_pb2.CloseResponse:
        answer: env_pb2.CloseResponse = self._measured("Close", super().close, request)
        return answer

    def execute(self, request: Request) -> Response:
        return self.exchange().execute(request)

    def exchange(self, end: Callable[[], object] | None = None) -> Exchange:
        return _MeasuredExchange(self, self.metrics, end)


class _MeasuredExchange(Exchange):
    def __init__(self, host: Host, metrics: Metrics, end: Callable[[], object] | None) -> None:
        super().__init__(host, end)
        self._metrics = metrics

    def execute(self, request: Request) -> Response:
        started = time.perf_counter()
        response = super().execute(request)
        metrics, kind = self._metrics, str(request.WhichOneof("request")).capitalize()
        metrics.calls.labels(kind).inc()
        metrics.seconds.labels(kind).observe(time.perf_counter() - started)
        answered = response.WhichOneof("response")
        if answered == "error":
            metrics.errors.labels(response.error.reason).inc()
        elif getattr(response, str(answered)).replayed:
            metrics.replays.inc()
        elif answered in ("step", "rollout"):
            for step in response.rollout.steps if answered == "rollout" else (response.step,):
                metrics.steps.inc(len(step.terminated))
                metrics.environment_seconds.labels(kind).observe(step.env_ns / 1e9)
        elif answered == "reset":
            metrics.environment_seconds.labels(kind).observe(response.reset.env_ns / 1e9)
        return response
