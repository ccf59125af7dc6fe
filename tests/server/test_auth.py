"""Tokens, scopes and TLS: refused without them, and nothing revealed; for each transport."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

import rlbridge
from rlbridge import errors
from rlbridge.server import Scope, ServerTls, Tokens
from tests.pki import Authority

CONTROL, OBSERVE = "control-token-of-the-test", "observe-token-of-the-test"
TOKENS = Tokens({CONTROL: Scope.CONTROL, OBSERVE: Scope.OBSERVE})
SCHEMES = ["grpc", "http", "shm"]


def bind_of(scheme: str, folder: Path) -> str:
    return f"shm://{folder}/env.sock" if scheme == "shm" else f"{scheme}://127.0.0.1:0"


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def token_file(tmp_path):
    def write(*lines: str) -> str:
        path = tmp_path / f"tokens-{len(list(tmp_path.iterdir()))}"
        path.write_text("\n".join(lines))
        path.chmod(0o600)
        return str(path)

    return write


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_token_opens_the_door_and_nothing_else_does(serve, scheme, token_file, tmp_path, monkeypatch):
    monkeypatch.delenv("RLBRIDGE_TOKEN", raising=False)
    url = serve("CartPole-v1", bind=bind_of(scheme, tmp_path), tokens=TOKENS).urls[0]
    with pytest.raises(errors.Unauthenticated, match="wants a token"):
        rlbridge.make(url)
    with pytest.raises(errors.Unauthenticated) as raised:
        rlbridge.make(url, credentials={"token_file": token_file("a-wrong-token-entirely")})
    assert "none of this server's" in str(raised.value)
    assert "a-wrong-token" not in str(raised.value)
    with pytest.raises(errors.PermissionDenied, match="needs one for control"):
        rlbridge.make(url, credentials={"token_file": token_file(OBSERVE)})
    env = rlbridge.make(url, credentials={"token_file": token_file(f"control {CONTROL}  # the trainer's")})
    env.reset(seed=0)
    env.step(0)
    env._session._link.drop()  # the token goes with every connection
    env.step(0)
    env.close()
    monkeypatch.setenv("RLBRIDGE_TOKEN", CONTROL)
    rlbridge.make_vec(url, 2).close()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_strangers_session_cannot_be_touched(serve, scheme, tmp_path):
    from rlbridge.client.connect import open_link
    from rlbridge.client.target import parse_target
    from rlbridge.v1 import env_pb2

    url = serve("CartPole-v1", bind=bind_of(scheme, tmp_path)).urls[0]
    env = rlbridge.make(url)
    env.reset(seed=0)
    reference = env._session._reference
    stranger = open_link(parse_target(url))
    guess = env_pb2.SessionRef(id=reference.id, token=b"0123456789abcdef", attachment=reference.attachment)
    with pytest.raises(errors.SessionExpired) as raised:
        stranger.call(
            env_pb2.ResumeRequest(session_id=guess.id, token=guess.token, epoch=env._session._epoch), timeout=5
        )
    assert "with this token" in str(raised.value)
    stranger.call(env_pb2.CloseRequest(session=guess, epoch=env._session._epoch), timeout=5)  # answered, and ignored
    stranger.close()
    env.step(0)
    env.close()


def test_tls_encrypts_and_the_server_must_be_who_it_says(serve, authority, tmp_path):
    cert, key = authority.issue("server")
    url = serve("CartPole-v1", bind="grpcs://127.0.0.1:0", tls=ServerTls(cert, key)).urls[0]
    assert url.startswith("grpcs://")
    env = rlbridge.make(url, credentials={"tls_ca": authority.ca})
    env.reset(seed=0)
    env.step(0)
    env.close()
    with pytest.raises((errors.Unavailable, errors.ProtocolMismatch)):
        rlbridge.make(url, timeout=5)  # signed by nobody the system knows
    with pytest.raises((errors.Unavailable, errors.ProtocolMismatch)):
        rlbridge.make(url, timeout=5, credentials={"tls_ca": Authority(tmp_path / "other").ca})
    with pytest.raises((errors.Unavailable, errors.ProtocolMismatch)):
        rlbridge.make(url.replace("grpcs", "grpc"), timeout=5)


def test_mutual_tls_wants_the_clients_certificate_too(serve, authority):
    cert, key = authority.issue("server2")
    client_cert, client_key = authority.issue("client")
    url = serve("CartPole-v1", bind="grpcs://127.0.0.1:0", tls=ServerTls(cert, key, authority.ca)).urls[0]
    own = {"tls_ca": authority.ca, "tls_cert": client_cert, "tls_key": client_key}
    rlbridge.make(url, credentials=own).close()
    with pytest.raises((errors.Unavailable, errors.ProtocolMismatch)):
        rlbridge.make(url, timeout=5, credentials={"tls_ca": authority.ca})
    with pytest.raises(errors.CredentialsError, match="belong together"):
        rlbridge.make(url, credentials={"tls_cert": client_cert})


def test_beyond_loopback_only_with_both_tls_and_a_token(serve, authority):
    cert, key = authority.issue("server3")
    tls = ServerTls(cert, key)
    for bind, options in [
        ("grpc://0.0.0.0:0", {}),
        ("grpcs://0.0.0.0:0", {"tls": tls}),
    ]:
        with pytest.raises(errors.BindRefused, match="not with both encryption and a token"):
            serve("CartPole-v1", bind=bind, **options)
    with pytest.raises(errors.BindRefused, match="not encrypted: bind to grpcs:// or https://"):
        serve("CartPole-v1", bind="grpc://127.0.0.1:0", tls=tls)
    with pytest.raises(errors.BindRefused, match="needs --tls-cert"):
        serve("CartPole-v1", bind="grpcs://127.0.0.1:0")


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["admin 0123456789abcdef"], "line 1: expected 'control TOKEN'"),
        (["# nothing"], "holds no token"),
        (["control 0123456789abcdef", "observe short"], "line 2"),
    ],
)
def test_a_token_file_with_a_mistake_says_the_line_and_not_the_secret(serve, token_file, lines, words):
    with pytest.raises(errors.AuthFileError) as raised:
        serve("CartPole-v1", tokens=token_file(*lines))
    assert words in str(raised.value)
    assert "0123456789abcdef" not in str(raised.value)


def test_a_token_file_that_others_can_read_is_refused(serve, tmp_path):
    path = tmp_path / "tokens"
    path.write_text("control 0123456789abcdef\n")
    path.chmod(0o644)
    with pytest.raises(errors.AuthFileError, match="chmod 600"):
        serve("CartPole-v1", tokens=str(path))


def test_secrets_are_in_no_log_and_no_repr(serve, caplog, monkeypatch):
    monkeypatch.setenv("RLBRIDGE_TOKEN", CONTROL)
    with caplog.at_level(logging.DEBUG):
        url = serve("CartPole-v1", tokens=TOKENS).urls[0]
        env = rlbridge.make(url)
        env.reset(seed=0)
        ticket = env.ticket
        env.close()
    text = caplog.text + repr(TOKENS) + repr(env) + repr(rlbridge.client.credentials.Credentials(token_file="x"))
    assert CONTROL not in text
    assert ticket not in text
