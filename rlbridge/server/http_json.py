"""The plain JSON face under ``/v1/``: for a person with curl, and for languages without protobuf.

The same sessions, numbers and errors as on the other faces; observations and actions are shaped by the session's
spaces, see plain_json.py. ``openapi.py`` describes it.
"""

from __future__ import annotations

import binascii
import json
import logging
import secrets
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
from starlette.requests import Request as HttpRequest
from starlette.responses import Response as HttpResponse
from starlette.routing import Route

from rlbridge.nearest import did_you_mean
from rlbridge.server.auth import Tokens
from rlbridge.server.failure import FAILURES
from rlbridge.server.host import Host
from rlbridge.server.http_body import read_body
from rlbridge.server.http_connect import caller_of
from rlbridge.server.http_errors import HttpError, code_word, http_status
from rlbridge.server.openapi import BODIES
from rlbridge.server.plain_json import sample_from_json, sample_to_json, space_to_json, value_to_json
from rlbridge.server.png import png
from rlbridge.server.session import Request, Response, Session
from rlbridge.v1 import env_pb2
from rlbridge.wire import PROTOCOL_VERSION, decode_space, decode_value, encode_value
from rlbridge.wire.errors import (
    BridgeError,
    DeadlineExceeded,
    InvalidAction,
    MessageTooLarge,
    Unauthenticated,
    WireError,
    decode_error,
)

log = logging.getLogger("rlbridge.server")

_MODES = {name.removeprefix("AUTORESET_MODE_").lower(): number for name, number in env_pb2.AutoresetMode.items()}
_MODE_NAMES = {number: name for name, number in _MODES.items()}
_FIRST_ATTACHMENT = 1  # that of whoever opened the session: a client that takes it over fences this face off


class JsonFace:
    """``/v1/...``"""

    def __init__(self, host: Host, tokens: Tokens) -> None:
        self._host, self._tokens = host, tokens
        self._turns: weakref.WeakKeyDictionary[Session, threading.Lock] = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()

    def routes(self) -> list[Route]:
        """The paths of this face."""
        session = "/v1/sessions/{id}"
        return [
            Route("/v1/describe", self._endpoint("Describe", self._describe), methods=["GET"]),
            Route("/v1/sessions", self._endpoint("Open", self._open), methods=["POST"]),
            Route(session, self._endpoint("Close", self._close), methods=["DELETE"]),
            Route(f"{session}/reset", self._endpoint("Reset", self._reset), methods=["POST"]),
            Route(f"{session}/step", self._endpoint("Step", self._step), methods=["POST"]),
            Route(f"{session}/render", self._endpoint("Render", self._render), methods=["POST"]),
            Route(f"{session}/keepalive", self._endpoint("KeepAlive", self._keep_alive), methods=["POST"]),
        ]

    def _endpoint(self, call: str, answer: Callable[[HttpRequest, dict[str, Any]], HttpResponse]) -> Any:
        async def endpoint(request: HttpRequest) -> HttpResponse:
            try:
                self._tokens.check(request.headers.get("authorization"), call)  # before anything of it is read
                return answer(request, await self._body(request, call))
            except HttpError as error:
                return refusal(error.error, error.status, error.headers)
            except BridgeError as error:
                return refusal(error)
            except FAILURES as error:
                log.exception("a call failed inside the server")
                return refusal(BridgeError(f"the server failed: {type(error).__name__}: {error}"))

        return endpoint

    async def _body(self, request: HttpRequest, call: str) -> dict[str, Any]:
        """The request's JSON object, its keys checked; an absent body is an empty one."""
        content = await read_body(request.receive, request.headers, self._host.limits.max_message_bytes)
        if not content:
            return {}
        kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
        if kind != "application/json":
            what = WireError(
                f"content type {kind[:80]!r}; this call takes application/json. With curl: "
                "-H 'Content-Type: application/json', or --json instead of -d."
            )
            raise HttpError(415, what)
        try:
            body = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise WireError(f"the body is no JSON: {str(error)[:200]}") from None
        if not isinstance(body, dict):
            raise WireError(f"the body must be a JSON object, got {type(body).__name__}")
        known = BODIES[call]
        for key in body:
            if key not in known:
                meant = did_you_mean(key, known)
                meant = f"; {meant}" if meant else "."
                raise WireError(f"unknown key {key[:40]!r}{meant} This call takes: {', '.join(known) or 'none'}")
        return body

    # ------------------------------------------------------------------------------------------------- control

    def _describe(self, request: HttpRequest, body: dict[str, Any]) -> HttpResponse:
        server = self._host.describe(env_pb2.DescribeRequest(protocol_versions=[PROTOCOL_VERSION]))
        return _json(
            {
                "server": server.server,
                "protocol_version": server.protocol_version,
                "capabilities": list(server.capabilities),
                "limits": {field.name: value for field, value in server.limits.ListFields()},
                "environments": [
                    {
                        "name": offer.name,
                        "summary": offer.summary,
                        "render_modes": list(offer.render_modes),
                        "autoreset_modes": [_MODE_NAMES[mode] for mode in offer.autoreset_modes],
                        **_spaces(self._host.spaces(env_pb2.SpacesRequest(environment=offer.name))),
                    }
                    for offer in server.environments
                ],
            }
        )

    def _open(self, request: HttpRequest, body: dict[str, Any]) -> HttpResponse:
        mode = _typed(body, "autoreset_mode", str, "unspecified")
        if mode not in _MODES:
            raise WireError(f"autoreset_mode {mode[:40]!r}; there are {', '.join(list(_MODES)[1:])}")
        key = _typed(body, "open_key", str, "")
        opened = self._host.open(
            env_pb2.OpenRequest(
                protocol_version=PROTOCOL_VERSION,
                environment=_typed(body, "env", str, ""),
                num_envs=_whole(body, "num_envs", 0, 2**32 - 1) or 0,
                autoreset_mode=_MODES[mode],  # type: ignore[arg-type]
                render_mode=_typed(body, "render_mode", str, ""),
                lease_ms=1000 * (_whole(body, "lease_seconds", 1, 4_000_000) or 0),
                open_key=key.encode() if key else secrets.token_bytes(16),
                client=request.headers.get("user-agent", "an HTTP client")[:80],
            ),
            caller_of(request),
        )
        session = opened.session
        answer = {
            "session": session.id,
            "token": session.token.hex(),
            "env": opened.environment,
            "num_envs": opened.num_envs,
            "autoreset_mode": _MODE_NAMES[opened.autoreset_mode] if opened.num_envs else None,
            "render_mode": opened.render_mode or None,
            "next_seq": opened.next_seq,
            "lease_seconds": opened.lease_ms / 1000,
            **_spaces(opened),
            "metadata": value_to_json(decode_value(opened.metadata)),
        }
        return _json(answer, 201)

    def _close(self, request: HttpRequest, body: dict[str, Any]) -> HttpResponse:
        self._host.close(env_pb2.CloseRequest(session=_reference(request, body), epoch=self._host.epoch))
        return HttpResponse(status_code=204)

    def _keep_alive(self, request: HttpRequest, body: dict[str, Any]) -> HttpResponse:
        asked = env_pb2.KeepAliveRequest(session=_reference(request, body), epoch=self._host.epoch)
        return _json({"lease_seconds": self._host.keep_alive(asked).lease_ms / 1000})

    # ------------------------------------------------------------------------------------------------ hot path

    def _reset(self, request: HttpRequest, body: dict[str, Any]) -> HttpResponse:
        reference = _reference(request, body)
        session = self._host.session(reference, self._host.epoch)
        message = Request()
        reset = message.reset
        reset.SetInParent()
        seed = _whole(body, "seed", 0, 2**64 - 1)
        if seed is not None:
            reset.seed = seed
        for row_seed in _typed(body, "seeds", list, []):
            row = reset.row_seeds.add()
            if row_seed is not None:
                row.seed = _whole({"seeds": row_seed}, "seeds", 0, 2**64 - 1) or 0
        if body.get("options") is not None:
            reset.options.CopyFrom(encode_value(_typed(body, "options", dict, {})))
        mask = _typed(body, "reset_mask", list, [])
        if not all(isinstance(flag, bool) for flag in mask):
            raise WireError("reset_mask must be a list of true and false, one for each environment")
        reset.reset_mask = bytes(mask)
        answer = self._execute(session, reference, message, reset, body).reset
        head = {"seq": answer.seq, "replayed": answer.replayed}
        observation = _observation(session, list(answer.observation))
        return _json({**head, "observation": observation, "info": _info(answer)})

    def _step(self, request: HttpRequest, body: dict[str, Any]) -> HttpResponse:
        reference = _reference(request, body)
        session = self._host.session(reference, self._host.epoch)
        message = Request()
        message.step.action.extend(_packed_action(session, body))
        answer = self._execute(session, reference, message, message.step, body).step
        single = session.environment.num_envs == 0
        step: dict[str, Any] = {
            "seq": answer.seq,
            "replayed": answer.replayed,
            "observation": _observation(session, list(answer.observation)),
            "reward": value_to_json(_column(answer.reward, "<f8", single)),
            "terminated": _column(answer.terminated, "?", single).tolist(),
            "truncated": _column(answer.truncated, "?", single).tolist(),
        }
        if answer.valid:
            step["valid"] = _column(answer.valid, "?", single).tolist()
        if answer.was_reset:
            step["was_reset"] = _column(answer.was_reset, "?", single).tolist()
        if answer.final_rows:
            last = _samples(session, list(answer.final_observation), len(answer.final_rows))
            step["final_observation"] = {str(row): sample for row, sample in zip(answer.final_rows, last, strict=True)}
        return _json({**step, "info": _info(answer)})

    def _render(self, request: HttpRequest, body: dict[str, Any]) -> HttpResponse:
        reference = _reference(request, body)
        session = self._host.session(reference, self._host.epoch)
        message = Request(render=env_pb2.RenderRequest())
        frame = decode_value(self._execute(session, reference, message, message.render, body).render.frame)
        if isinstance(frame, str):
            return HttpResponse(frame, media_type="text/plain; charset=utf-8")
        if isinstance(frame, np.ndarray) and frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[2] == 3:
            return HttpResponse(png(frame), media_type="image/png")
        return _json({"frame": value_to_json(frame)})

    def _execute(
        self, session: Session, reference: env_pb2.SessionRef, message: Request, part: Any, body: dict[str, Any]
    ) -> Response:
        """Run a request under the number it came with, or else under the next one."""
        part.session.CopyFrom(reference)
        part.epoch = self._host.epoch
        seq = _whole(body, "seq", 1, 2**63)
        if seq is not None:
            part.seq = seq
            return _unwrapped(self._host.execute(message))
        with self._lock:
            turn = self._turns.setdefault(session, threading.Lock())
        # Two requests without a number are two requests: neither may take the other's outcome for its own.
        wait = self._host.limits.wait_seconds
        if not turn.acquire(timeout=wait):
            raise DeadlineExceeded(f"another request of this session has been executing for more than {wait:g} s")
        try:
            part.seq = session.next_seq
            return _unwrapped(self._host.execute(message))
        finally:
            turn.release()


def _unwrapped(response: Response) -> Response:
    if response.HasField("error"):
        raise decode_error(response.error)
    return response


def _reference(request: HttpRequest, body: dict[str, Any]) -> env_pb2.SessionRef:
    text = request.headers.get("x-session-token") or _typed(body, "token", str, "")
    if not text:
        raise Unauthenticated(
            "this call wants the session's token, which POST /v1/sessions gave: in the header X-Session-Token, or as "
            "'token' in the body"
        )
    try:
        token = bytes.fromhex(text)
    except (ValueError, binascii.Error):
        token = b""  # the host's answer is the same for a wrong token as for a wrong session
    return env_pb2.SessionRef(id=request.path_params["id"], token=token, attachment=_FIRST_ATTACHMENT)


def _packed_action(session: Session, body: dict[str, Any]) -> list[bytes]:
    """The action as blocks. Raises InvalidAction."""
    codec, n = session.environment.actions, session.environment.num_envs
    what = f"a list of {n} actions of" if n else "an action of"
    try:
        if "action" not in body:
            raise WireError("the body has no 'action'")
        if n == 0:
            return codec.pack(sample_from_json(codec.space, body["action"]))
        actions = body["action"]
        if not isinstance(actions, list) or len(actions) != n:
            got = f"{len(actions)} of them" if isinstance(actions, list) else type(actions).__name__
            raise WireError(f"a list of {n} actions is expected, got {got}")
        return codec.stack([sample_from_json(codec.space, action, f"/{row}") for row, action in enumerate(actions)])
    except WireError as error:
        raise InvalidAction(
            f"action: {error.args[0]}. The environment takes {what} {codec.space}; nothing was stepped.",
            **error.details,
        ) from error


def _observation(session: Session, blocks: list[bytes]) -> Any:
    n = session.environment.num_envs
    if n:
        return _samples(session, blocks, n)
    codec = session.environment.observations
    return sample_to_json(codec.space, codec.unpack(blocks))


def _samples(session: Session, blocks: list[bytes], n: int) -> list[Any]:
    codec = session.environment.observations
    return [sample_to_json(codec.space, sample) for sample in codec.unstack(blocks, n)]


def _column(data: bytes, dtype: str, single: bool) -> Any:
    values = np.frombuffer(data, dtype)
    return values[0] if single else values


def _info(answer: env_pb2.StepResponse | env_pb2.ResetResponse) -> Any:
    return value_to_json(decode_value(answer.info)) if answer.HasField("info") else {}


def _spaces(message: env_pb2.OpenResponse | env_pb2.SpacesResponse) -> dict[str, Any]:
    names = ("observation_space", "action_space")
    return {name: space_to_json(decode_space(getattr(message, name))) for name in names}


def _typed(body: dict[str, Any], key: str, kind: type[Any], default: Any) -> Any:
    value = body.get(key)
    if value is None:
        return default
    if not isinstance(value, kind):
        words = {"str": "text", "list": "a list", "dict": "an object"}
        raise WireError(f"{key} must be {words[kind.__name__]}, got {type(value).__name__}")
    return value


def _whole(body: dict[str, Any], key: str, low: int, high: int) -> int | None:
    value = body.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise WireError(f"{key} must be a whole number from {low} to {high}, got {str(value)[:40]}")
    return value


def _json(content: Any, status: int = 200) -> HttpResponse:
    body = json.dumps(content, allow_nan=False, ensure_ascii=False).encode("utf-8", "backslashreplace")
    return HttpResponse(body, status, media_type="application/json")


def refusal(error: BridgeError, status: int | None = None, headers: dict[str, str] | None = None) -> HttpResponse:
    """An error for a person: its word, its reason, what happened and what to do."""
    if status is None:
        too_large = isinstance(error, MessageTooLarge) and error.details.get("side") == "server"
        status = 413 if too_large else http_status(error.code)
    said: dict[str, Any] = {"code": code_word(error.code), "reason": error.reason, "message": error.args[0]}
    if error.details:
        said["details"] = error.details
    if error.remote_traceback:
        said["remote_traceback"] = error.remote_traceback
    response = _json({"error": said}, status)
    response.headers.update(headers or {})
    return response
