"""What answers are made of: blocks, rewards, flags, infos, frames."""

from __future__ import annotations

import numpy as np

from rlbridge.check.peer import Peer, described
from rlbridge.check.result import Failed, Skipped, expect
from rlbridge.check.subject import Subject
from rlbridge.v1 import env_pb2
from rlbridge.wire import decode_value
from rlbridge.wire.errors import WireError

_STEPS = 5
_MAX_OFFERS = 32


def blocks(subject: Subject) -> str:
    """Answers have one block a leaf in the layout's size, a float64 reward and one 0 or 1 a flag for each environment.

    For every environment on offer, alone and in a batch. StepResponse: valid and was_reset may be left out.
    """
    offers = list(subject.server.environments)[:_MAX_OFFERS]
    sizes = [0] + ([min(3, subject.server.limits.max_envs)] if subject.server.limits.max_envs else [])
    for offer in offers:
        for n in sizes:
            peer = subject.open(environment=offer.name, num_envs=n)
            name = f"{offer.name!r} with num_envs = {n}"
            answer = peer.executed(peer.reset_request()).reset
            _observation(peer, list(answer.observation), peer.rows, f"a reset of {name}")
            _info(answer.info if answer.HasField("info") else None, f"a reset of {name}")
            for _ in range(_STEPS):
                step = peer.executed(peer.step_request()).step
                _step(peer, step, f"a step of {name}")
                if b"\x01" in (step.terminated + step.truncated):
                    break
            subject.release()
    return f"{len(offers)} environment(s), {'alone and in batches' if len(sizes) > 1 else 'alone'}"


def _observation(peer: Peer, told: list[bytes], rows: int, what: str) -> None:
    try:
        if peer.n:
            peer.observations.unpack_batch(told, rows)
        else:
            peer.observations.unpack(told)
    except WireError as error:
        raise Failed(f"the observation of {what} in the layout that Open told", error.args[0]) from error


def _step(peer: Peer, step: env_pb2.StepResponse, what: str) -> None:
    _observation(peer, list(step.observation), peer.rows, what)
    expect(len(step.reward) == 8 * peer.rows, f"{8 * peer.rows} bytes of reward in {what}", len(step.reward))
    for name in ("terminated", "truncated"):
        _flags(getattr(step, name), peer.rows, f"{name} of {what}")
    for name in ("valid", "was_reset"):
        if getattr(step, name):
            _flags(getattr(step, name), peer.rows, f"{name} of {what}")
    expect(all(row < peer.rows for row in step.final_rows), f"final_rows below {peer.rows}", list(step.final_rows))
    if step.final_rows:
        _final(peer, step, what)
    _info(step.info if step.HasField("info") else None, what)


def _final(peer: Peer, step: env_pb2.StepResponse, what: str) -> None:
    try:
        peer.observations.unpack_batch(list(step.final_observation), len(step.final_rows))
    except WireError as error:
        raise Failed(f"final_observation of {what}: a row for each of final_rows", error.args[0]) from error


def _flags(told: bytes, rows: int, what: str) -> None:
    expect(len(told) == rows and set(told) <= {0, 1}, f"{what}: {rows} byte(s), 0 or 1", told[:32].hex(" ") or "none")


def _info(info: env_pb2.values__pb2.Value | None, what: str) -> None:  # type: ignore[name-defined]
    if info is None:
        return
    try:
        value = decode_value(info)
    except WireError as error:
        raise Failed(f"a readable info of {what}", error.args[0]) from error
    expect(isinstance(value, dict), f"a map as info of {what}", type(value).__name__)


def infos(subject: Subject) -> str:
    """OpenRequest.infos, present: only the keys it lists come back; with an empty list, none."""
    peer = subject.open(infos=env_pb2.InfoSelection())
    peer.start()
    for _ in range(_STEPS):
        answer = peer.executed(peer.next_request())
        body = getattr(answer, str(answer.WhichOneof("response")))
        info = decode_value(body.info) if body.HasField("info") else {}
        expect(not info, "no infos", f"{', '.join(info)} in {described(answer)}")
    return "none came back"


def render(subject: Subject) -> str:
    """Render gives a frame in each mode on offer: [height, width, 3] of uint8 for rgb_array, a text for ansi.

    Skipped where the environment itself fails at drawing, as most do without a graphics library.
    """
    modes = list(subject.offer.render_modes)
    if not modes:
        raise Skipped("the environment offers no render_mode")
    for mode in modes:
        peer = subject.open(render_mode=mode)
        expect(peer.opened.render_mode == mode, f"render_mode {mode!r} in effect", repr(peer.opened.render_mode))
        peer.start()
        request = env_pb2.ExchangeRequest(
            render=env_pb2.RenderRequest(session=peer.ref, seq=peer.seq, epoch=peer.epoch)
        )
        answer = peer.ask(request)
        if answer.error.reason == "ENVIRONMENT_ERROR":
            raise Skipped(f"the environment cannot draw: {answer.error.message[:200]}")
        expect(answer.HasField("render"), f"a frame in mode {mode!r}", described(answer))
        frame = decode_value(answer.render.frame)
        if mode == "rgb_array":
            fine = isinstance(frame, np.ndarray) and frame.ndim == 3 and frame.shape[2] == 3 and frame.dtype == np.uint8
            expect(
                fine, "an array [height, width, 3] of uint8", f"{type(frame).__name__} {getattr(frame, 'shape', '')}"
            )
        if mode == "ansi":
            expect(isinstance(frame, str), "a text", type(frame).__name__)
        peer.move()
    return ", ".join(modes)
