"""Whether both sides agree on TLS, whether the certificates are good, and which protocol is spoken inside."""

from __future__ import annotations

import os
import pkgutil
import socket
import ssl
import time
from typing import Any

from rlbridge.client.credentials import Credentials
from rlbridge.doctor.connection import Dial
from rlbridge.doctor.deadline import Deadline
from rlbridge.doctor.finding import Finding, Problem
from rlbridge.doctor.greeting import Answer, greet, recognise
from rlbridge.doctor.place import Place

_SECONDS = 4.0
_NO_CHECK_TIME = 0x200000  # OpenSSL's X509_V_FLAG_NO_CHECK_TIME, which the ssl module has no name for
_EXPIRED, _NOT_YET = 10, 9  # OpenSSL's X509_V_ERR_...
_OTHER_NAME = (62, 64)
_SOON_DAYS = 7
_CERTIFICATE_REQUEST = 13  # RFC 8446, section 4


def examine_encryption(
    place: Place, dial: Dial, credentials: Credentials, deadline: Deadline
) -> tuple[Answer, Finding]:
    """Greet the server as the target says, encrypted or not, and look at its certificate.

    Returns:
        What answers inside, and the finding.

    Raises:
        Problem: one side wants TLS and the other does not; a certificate is refused by either side; nothing answers.
    """
    if place.target.secure:
        return _secure(place, dial, credentials, deadline)
    return _plain(place, dial, deadline)


def examine_protocol(place: Place, answer: Answer) -> Finding:
    """Whether what answered speaks the target's protocol.

    Raises:
        Problem: it speaks another one.
    """
    if place.grpc and answer.language == "HTTP/2":
        return Finding("protocol", "ok", "HTTP/2 answers, as gRPC needs it")
    if not place.grpc and answer.language == "HTTP/1":
        return Finding("protocol", "ok", f"HTTP/1.1 answers ({answer.text!r})")
    secure = "s" if place.target.secure else ""
    if answer.language == "HTTP/1":
        raise Problem(
            "protocol",
            f"not gRPC: an HTTP/1.1 server answers at {place} ({answer.text!r})",
            f"Check the port; if it is an rlbridge server over HTTP, use {place.with_scheme('http' + secure)}.",
        )
    if answer.language == "HTTP/2":
        raise Problem(
            "protocol",
            f"not HTTP/1.1: a gRPC server answers at {place}",
            f"Check the port, or use {place.with_scheme('grpc' + secure)}.",
        )
    said = f"it begins with {answer.text!r}" if answer.text else "it hangs up at once"
    wanted = "gRPC" if place.grpc else "HTTP/1.1"
    raise Problem("protocol", f"not {wanted}: something else answers at {place}, {said}", "Check the port.")


# ------------------------------------------------------------------------------------------------------- plain


def _plain(place: Place, dial: Dial, deadline: Deadline) -> tuple[Answer, Finding]:
    began = time.monotonic()
    answer = recognise(dial, place.host, place.grpc, deadline.within(_SECONDS))
    if answer.language == "silent":
        raise _silent(place, time.monotonic() - began)
    if answer.language in ("TLS", "closed", "other") and not place.path and _speaks_tls(place, dial, deadline):
        raise Problem(
            "encryption",
            f"TLS mismatch: the server at {place} speaks TLS, and the target is not encrypted",
            f"The server wants {place.with_scheme(place.scheme + 's')}.",
        )
    return answer, Finding("encryption", "ok", "none, on either side")


def _speaks_tls(place: Place, dial: Dial, deadline: Deadline) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        _handshake(place, dial, context, deadline).close()
    except ssl.SSLError as error:
        return "ALERT" in (error.reason or "")  # it refuses, and does so in TLS
    except OSError:
        return False
    return True


def _silent(place: Place, seconds: float) -> Problem:
    return Problem(
        "protocol",
        f"nothing answers: {place} accepts connections, and says nothing for {seconds:.1f} s",
        "The server hangs, or a proxy or firewall answers in its place: look at its log, restart it, check the port.",
    )


# ------------------------------------------------------------------------------------------------------ secure


def _secure(place: Place, dial: Dial, credentials: Credentials, deadline: Deadline) -> tuple[Answer, Finding]:
    context = _context(place, credentials)
    asked = _note_requests_for_a_certificate(context)
    began = time.monotonic()
    try:
        connection = _handshake(place, dial, context, deadline)
    except ssl.SSLCertVerificationError as error:
        raise _bad_certificate(place, dial, credentials, error, deadline) from error
    except OSError as error:
        if asked:
            raise _refused_by_server(credentials, error) from error
        answer = recognise(dial, place.host, place.grpc, deadline.within(_SECONDS))
        raise _no_handshake(place, credentials, error, answer, time.monotonic() - began) from error
    version, chosen = connection.version(), connection.selected_alpn_protocol()
    certificate = connection.getpeercert() or {}
    try:
        answer = greet(connection, place.host, place.grpc, deadline.within(_SECONDS))
    except ssl.SSLError as error:  # TLS 1.3: a server judges the client's certificate after the client's handshake
        raise _refused_by_server(credentials, error) from error
    if answer.language == "closed" and asked:  # gRPC's servers hang up without a word
        raise _refused_by_server(credentials, None)
    if answer.language == "silent":
        raise _silent(place, time.monotonic() - began)
    if place.grpc and answer.language == "HTTP/2" and chosen != "h2":
        raise Problem(
            "encryption",
            f"TLS without HTTP/2: the server's TLS does not agree to it (ALPN: {chosen or 'none'}), and gRPC insists",
            "Enable ALPN with h2 in what ends TLS in front of the server.",
        )
    days = (ssl.cert_time_to_seconds(str(certificate["notAfter"])) - time.time()) / 86_400
    found = f"{version}; the certificate is for {_names(certificate)}, until {certificate['notAfter']}"
    if days < _SOON_DAYS:
        return answer, Finding("encryption", "warning", f"{found}: {days:.0f} days", "Renew the server's certificate.")
    return answer, Finding("encryption", "ok", found)


def _context(place: Place, credentials: Credentials) -> ssl.SSLContext:
    """TLS as the real client does it: the same authorities, the same client certificate.

    Raises:
        Problem: one of the files holds something else than it should.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["h2"] if place.grpc else ["http/1.1"])
    what = f"the authority {credentials.tls_ca}"
    try:
        if credentials.tls_ca:
            context.load_verify_locations(credentials.tls_ca)
        elif (roots := _grpc_roots()) and place.grpc:
            context.load_verify_locations(cadata=roots)
        else:
            context.load_default_certs()
        if credentials.tls_cert and credentials.tls_key:
            what = f"the client certificate {credentials.tls_cert} with the key {credentials.tls_key}"
            context.load_cert_chain(credentials.tls_cert, credentials.tls_key, password="")
    except OSError as error:
        advice = "Give PEM files that belong together, the key without a password."
        raise Problem("credentials", f"TLS file unusable: {what}: {error}", advice) from error
    return context


def _note_requests_for_a_certificate(context: ssl.SSLContext) -> list[bool]:
    """A list that is empty for as long as no server has asked for a client's certificate in this context.

    The ssl module tells it only to its debugging hook, which is not public; without it the list stays empty.
    """
    asked: list[bool] = []

    def look(connection: Any, direction: str, version: Any, content: Any, message: Any, data: bytes) -> None:
        if direction == "read" and message == _CERTIFICATE_REQUEST:
            asked.append(True)

    if hasattr(context, "_msg_callback"):
        context._msg_callback = look
    return asked


def _grpc_roots() -> str | None:
    """The authorities that gRPC trusts where none is given: a list of its own, not the system's."""
    path = os.environ.get("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH")
    try:
        if path:
            with open(path) as file:
                return file.read()
        bundled = pkgutil.get_data("grpc", "_cython/_credentials/roots.pem")
    except OSError:
        return None
    return bundled.decode() if bundled else None


def _handshake(place: Place, dial: Dial, context: ssl.SSLContext, deadline: Deadline) -> ssl.SSLSocket:
    connection: socket.socket = dial(deadline.within(_SECONDS))
    connection.settimeout(deadline.within(_SECONDS))
    try:
        return context.wrap_socket(connection, server_hostname=place.host)
    except BaseException:
        connection.close()
        raise


def _no_handshake(place: Place, credentials: Credentials, error: OSError, answer: Answer, seconds: float) -> Problem:
    if isinstance(error, ssl.SSLError) and "ALERT" in (error.reason or ""):
        return _refused_by_server(credentials, error)
    if answer.language in ("HTTP/1", "HTTP/2", "other"):
        spoken = answer.language if answer.language != "other" else repr(answer.text)
        plain = place.with_scheme(place.scheme.removesuffix("s"))
        return Problem(
            "encryption",
            f"TLS mismatch: the server does not speak TLS ({spoken} answers at {place}, not encrypted)",
            f"Serve with --tls-cert and --tls-key, or use {plain} where the network itself is trusted.",
        )
    if isinstance(error, TimeoutError) or answer.language == "silent":
        return _silent(place, seconds)
    return Problem(
        "encryption",
        f"TLS handshake failed: {_reason(error)}",
        "Check the port, and the TLS settings of what listens there.",
    )


def _refused_by_server(credentials: Credentials, error: OSError | None) -> Problem:
    """The server has ended TLS with an error of its own, or asked for a certificate and hung up (None)."""
    reason = _reason(error) if error else "it asks for one, and hangs up"
    asked = error is None or not isinstance(error, ssl.SSLError) or isinstance(error, ssl.SSLEOFError)
    if credentials.tls_cert:
        return Problem(
            "encryption",
            f"client certificate refused: the server does not accept {credentials.tls_cert} ({reason})",
            "Use a certificate that the server's --tls-client-ca has signed and that has not expired.",
        )
    if asked or "certificate required" in reason or "handshake failure" in reason:
        return Problem(
            "encryption",
            f"client certificate wanted: the server accepts only clients that show one ({reason})",
            "Set RLBRIDGE_TLS_CERT and RLBRIDGE_TLS_KEY, or give credentials tls_cert and tls_key.",
        )
    return Problem(
        "encryption",
        f"TLS refused: the server ends the handshake ({reason})",
        "Compare the TLS versions and certificates that the two sides allow.",
    )


def _bad_certificate(
    place: Place, dial: Dial, credentials: Credentials, error: ssl.SSLCertVerificationError, deadline: Deadline
) -> Problem:
    if error.verify_code in _OTHER_NAME:
        names = _names(_certificate(place, dial, credentials, deadline))
        return Problem(
            "encryption",
            f"wrong host name: the server's certificate is not for {place.host!r}, but for {names}",
            "Use one of those names in the target, or issue a certificate that has this one as subjectAltName.",
        )
    if error.verify_code in (_EXPIRED, _NOT_YET):
        over = error.verify_code == _EXPIRED
        when = _certificate(place, dial, credentials, deadline).get("notAfter" if over else "notBefore", "another time")
        return Problem(
            "encryption",
            f"certificate {'expired: it was valid until' if over else 'not valid yet: it is valid from'} {when}",
            "Renew the server's certificate, and check the clocks of both machines.",
        )
    trusted = f"the authority {credentials.tls_ca}" if credentials.tls_ca else "any authority known here"
    return Problem(
        "encryption",
        f"unknown authority: the server's certificate was not signed by {trusted} ({error.verify_message})",
        "Set RLBRIDGE_TLS_CA, or credentials tls_ca, to the PEM file of the authority that signed it.",
    )


def _certificate(place: Place, dial: Dial, credentials: Credentials, deadline: Deadline) -> dict[str, Any]:
    """The server's certificate, whatever its name and date."""
    context = _context(place, credentials)
    context.check_hostname = False
    context.verify_flags = ssl.VerifyFlags(context.verify_flags | _NO_CHECK_TIME)
    try:
        with _handshake(place, dial, context, deadline) as connection:
            return connection.getpeercert() or {}
    except OSError:
        return {}


def _names(certificate: dict[str, Any]) -> str:
    names = [str(value) for _, value in certificate.get("subjectAltName", ())]
    return ", ".join(names[:5]) or "no name at all"


def _reason(error: OSError) -> str:
    reason = getattr(error, "reason", None) or error.strerror or str(error)
    return str(reason).lower().replace("_", " ")
