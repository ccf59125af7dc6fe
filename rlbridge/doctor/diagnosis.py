"""The examinations in their order, each built on those before it."""

from __future__ import annotations

from collections.abc import Iterator

from rlbridge.client.connect import GivenCredentials, open_link
from rlbridge.client.credentials import Credentials, CredentialsError
from rlbridge.doctor.connection import examine_name, examine_tcp, examine_unix
from rlbridge.doctor.deadline import Deadline
from rlbridge.doctor.encryption import examine_encryption, examine_protocol
from rlbridge.doctor.finding import Finding, Problem
from rlbridge.doctor.place import read_target
from rlbridge.doctor.proxy import examine_proxy
from rlbridge.doctor.service import examine_capacity, examine_round_trip, examine_service
from rlbridge.doctor.steps import examine_session
from rlbridge.wire.errors import Unsupported

DEFAULT_TIMEOUT = 30.0
DEFAULT_STEPS = 20


def diagnose(
    target: str,
    credentials: GivenCredentials = None,
    *,
    timeout: float = DEFAULT_TIMEOUT,
    steps: int = DEFAULT_STEPS,
) -> list[Finding]:
    """Find out whether a server can be used, and if not, or only slowly, why. Never raises for what it finds.

    Args:
        target: as for ``rlbridge.make``, remote.
        credentials: as for ``rlbridge.make``.
        timeout: seconds for the whole; a few more go by where the end of a request has to be waited for.
        steps: random actions sent to the environment, in a session of the doctor's own; 0 opens none.

    Returns:
        The findings, in order. The first problem is the last of them: what would follow means nothing.

    Example:
        >>> [finding.status for finding in diagnose("CartPole-v1")]
        ['problem']
    """
    return list(examine(target, credentials, timeout=timeout, steps=steps))


def examine(
    target: str,
    credentials: GivenCredentials = None,
    *,
    timeout: float = DEFAULT_TIMEOUT,
    steps: int = DEFAULT_STEPS,
) -> Iterator[Finding]:
    """The findings of ``diagnose``, each as soon as it is there."""
    deadline = Deadline(timeout)
    try:
        for finding in _examinations(target, credentials, steps, deadline):
            yield finding
            if deadline.passed and finding.name != "steps":
                found = f"out of time: the {timeout:g} s for the whole are over, after {finding.name!r}"
                raise Problem("time", found, "Every answer takes long: give a larger --timeout, or look at the load.")
    except Problem as problem:
        yield problem.finding


def _examinations(text: str, given: GivenCredentials, steps: int, deadline: Deadline) -> Iterator[Finding]:
    place, finding = read_target(text)
    yield finding
    credentials, token_given, finding = _examine_credentials(given)
    yield finding
    if place.path:
        dial, finding = examine_unix(place, deadline)
        yield finding
    else:
        tunnel, finding = examine_proxy(place, deadline)
        yield finding
        if tunnel is not None:  # then the proxy resolves the name, and connects
            dial = tunnel
        else:
            addresses, finding = examine_name(place, deadline)
            yield finding
            dial, finding = examine_tcp(place, addresses, deadline)
            yield finding
    if place.shared_memory:
        yield Finding("encryption", "ok", "none, and none needed: nothing leaves this machine")
    else:
        answer, finding = examine_encryption(place, dial, credentials, deadline)
        yield finding
        yield examine_protocol(place, answer)
    try:
        link = open_link(place.target, credentials=credentials)
    except ModuleNotFoundError as error:  # an extra that this target's transport needs
        raise Problem("client", f"package missing: {error}", "Install it where this command runs.") from error
    except Unsupported as error:
        raise Problem("client", f"not on this system: {error}", "Use one of those targets.") from error
    try:
        server, finding = examine_service(link, place, token_given, deadline)
        yield finding
        yield examine_round_trip(link, token_given, deadline)
        yield examine_capacity(server)
        if steps > 0:
            yield from examine_session(link, place, token_given, steps, deadline)
    finally:
        link.close()


def _examine_credentials(given: GivenCredentials) -> tuple[Credentials, bool, Finding]:
    try:
        credentials = Credentials.of(given)
        token = credentials.token()
        ca, key, _ = credentials.tls()
    except CredentialsError as error:
        advice = "Correct the path, or the variable RLBRIDGE_TOKEN_FILE, RLBRIDGE_TLS_CA, _CERT or _KEY that names it."
        raise Problem("credentials", f"credentials unusable: {error}", advice) from error
    have = [
        name
        for name, there in (("a token", token), ("an authority", ca), ("a client certificate", key))
        if there is not None
    ]
    return credentials, token is not None, Finding("credentials", "ok", " and ".join(have) or "none given")
