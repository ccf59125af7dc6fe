"""Describe, Spaces and the refusals of Open that need no session."""

from __future__ import annotations

from collections.abc import Sequence

from rlbridge.check.result import Skipped, expect
from rlbridge.check.subject import Subject
from rlbridge.v1 import env_pb2
from rlbridge.wire import PROTOCOL_VERSION, BlockCodec, decode_space
from rlbridge.wire.errors import BridgeError, ProtocolMismatch, Unimplemented

_UNKNOWN_VERSION = 4_000_000_000
_MAX_OFFERS = 32


def describe(subject: Subject) -> str:
    """Describe tells the version in common, the epoch, the limits and at least one environment.

    DescribeResponse: for a version that the server does not speak it answers 0, and tells which it speaks.
    """
    server = subject.server
    speaks = list(server.protocol_versions)
    expect(server.protocol_version == PROTOCOL_VERSION, f"version {PROTOCOL_VERSION}", server.protocol_version)
    expect(PROTOCOL_VERSION in speaks, f"{PROTOCOL_VERSION} among protocol_versions", speaks)
    expect(bool(server.environments), "an environment on offer", "none")
    expect(all(offer.name for offer in server.environments), "a name for each environment", "an empty name")
    limits = server.limits
    for name in ("max_sessions", "max_message_bytes", "kept_outcomes", "lease_ms"):
        expect(getattr(limits, name) > 0, f"limits.{name} above 0", getattr(limits, name))
    again = subject.describe(PROTOCOL_VERSION, _UNKNOWN_VERSION)
    expect(again.epoch == server.epoch, f"the same epoch again, {server.epoch}", again.epoch)
    expect(again.protocol_version == PROTOCOL_VERSION, f"version {PROTOCOL_VERSION} of two", again.protocol_version)
    other = subject.describe(_UNKNOWN_VERSION)
    expect(other.protocol_version == 0, "version 0 for a client with none in common", other.protocol_version)
    expect(bool(other.protocol_versions), "protocol_versions for a client with none in common", "none")
    return f"{server.server or 'a server without a name'}, {len(server.environments)} environment(s)"


def version_refused(subject: Subject) -> str:
    """Open of a protocol version that the server does not speak is refused with PROTOCOL_MISMATCH."""
    subject.open_refused("PROTOCOL_MISMATCH", "an unknown version", protocol_version=_UNKNOWN_VERSION)
    return "refused"


def unknown_environment(subject: Subject) -> str:
    """Open of an environment that is not on offer is refused with UNKNOWN_ENVIRONMENT."""
    subject.open_refused("UNKNOWN_ENVIRONMENT", "an unknown name", environment="no such environment, surely")
    return "refused"


def unimplemented(subject: Subject) -> str:
    """A call whose capability is not advertised answers UNIMPLEMENTED: it neither works by chance nor hangs.

    EnvService: "UNIMPLEMENTED without it", of Resume and KeepAlive.
    """
    peer = subject.open()
    absent = {
        "resume": env_pb2.ResumeRequest(session_id=peer.ref.id, token=peer.ref.token, epoch=peer.epoch),
        "keepalive": env_pb2.KeepAliveRequest(session=peer.ref, epoch=peer.epoch),
    }
    absent = {capability: request for capability, request in absent.items() if not subject.has(capability)}
    if not absent:
        raise Skipped("the server advertises resume and keepalive")
    for capability, request in absent.items():
        try:
            peer.link.call(request, subject.timeout)
        except (Unimplemented, ProtocolMismatch):  # a link may have no better word for a bare status of that code
            continue
        except BridgeError as error:
            expect(False, f"UNIMPLEMENTED without {capability!r}", f"{error.reason} ({error.args[0]})")
        expect(False, f"UNIMPLEMENTED without {capability!r}", "an answer")
    return f"without {' and '.join(absent)}"


def spaces(subject: Subject) -> str:
    """Spaces tells, for every environment on offer, the spaces and layouts that Open tells of it."""
    offers = list(subject.server.environments)[:_MAX_OFFERS]
    for offer in offers:
        told = subject.link.call(env_pb2.SpacesRequest(environment=offer.name), subject.timeout)
        opened = subject.open(environment=offer.name).opened
        for part in ("observation_space", "action_space", "observation_layout", "action_layout"):
            same = getattr(told, part) == getattr(opened, part)
            expect(same, f"the same {part} of {offer.name!r} from Spaces and Open", "two different ones")
        subject.release()
    return f"{len(offers)} environment(s)"


def layouts(subject: Subject) -> str:
    """The spaces of every environment on offer can be read, and their layouts list their leaves in order.

    LeafLayout: Tuple and Dict spaces are walked in order, depth first; a fixed leaf tells type and shape.
    """
    offers = list(subject.server.environments)[:_MAX_OFFERS]
    for offer in offers:
        opened = subject.open(environment=offer.name).opened
        for part in ("observation", "action"):
            codec = BlockCodec(decode_space(getattr(opened, f"{part}_space")))
            told, walked = list(getattr(opened, f"{part}_layout")), codec.layout()
            expect(told == walked, f"the leaves of {codec.space}: {_printed(walked)}", _printed(told))
        subject.release()
    return f"{len(offers)} environment(s)"


def _printed(layout: Sequence[object]) -> str:
    return "; ".join(" ".join(str(leaf).split()) for leaf in layout) or "no leaves"
