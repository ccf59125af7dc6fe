"""``rlbridge serve ENV``"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from enum import Enum
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from rlbridge.cli.failures import reported


class Bounds(str, Enum):
    """What happens to actions outside a Box."""

    refuse = "refuse"
    clip = "clip"
    ignore = "ignore"


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("serve", short_help="Serve an environment.")(serve)


def serve(
    env: Annotated[
        str,
        typer.Argument(
            help="A Gymnasium id, module:factory, file.py:factory, a serve.yaml, or a folder that holds one."
        ),
    ],
    bind: Annotated[
        list[str] | None,
        typer.Option(
            help="grpc://HOST:PORT or http://HOST:PORT (port 0: a free one), grpcs://, https://, unix:///PATH or "
            "shm:///PATH (shared memory, the fastest on one machine); may be given several times."
        ),
    ] = None,
    max_sessions: Annotated[int, typer.Option(min=1, help="Sessions open at a time.")] = 64,
    max_sessions_per_client: Annotated[
        int | None, typer.Option(min=1, help="Of those, for one network address. Default: all.")
    ] = None,
    max_opens_per_second: Annotated[int, typer.Option(min=1, help="Sessions one address may open in a second.")] = 500,
    max_envs: Annotated[int, typer.Option(min=1, help="Sub-environments of one session.")] = 1024,
    max_message_mib: Annotated[float, typer.Option(min=0.01, max=2000, help="Largest message, in MiB.")] = 64.0,
    lease: Annotated[
        float,
        typer.Option(min=0.1, max=86_400, help="Seconds without a sign of its client after which a session is closed."),
    ] = 60.0,
    action_bounds: Annotated[
        Bounds | None,
        typer.Option(help="Numbers outside a Box action space. Default: what serve.yaml says, else refuse."),
    ] = None,
    hide_tracebacks: Annotated[
        bool, typer.Option("--hide-tracebacks", help="Do not send the environment's tracebacks to clients.")
    ] = False,
    tls_cert: Annotated[str | None, typer.Option(help="PEM certificate chain, for grpcs:// and https://.")] = None,
    tls_key: Annotated[str | None, typer.Option(help="PEM private key.")] = None,
    tls_client_ca: Annotated[
        str | None, typer.Option(help="Clients must show a certificate signed by this authority (mutual TLS).")
    ] = None,
    token_file: Annotated[
        str | None, typer.Option(help="Lines 'control TOKEN' or 'observe TOKEN'; callers must show one.")
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Allow a bind that other machines can reach without TLS and a token.")
    ] = False,
    metrics: Annotated[
        bool, typer.Option("--metrics", help="Tell Prometheus at /metrics of the http:// binds what happens here.")
    ] = False,
    record: Annotated[
        Path | None, typer.Option(help="A folder; every session leaves a recording in a folder of its own in there.")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log sessions as they open and close.")] = False,
) -> None:
    """Serve an environment to trainers in other processes, on other machines.

    Prints a line `serving URL` for each bind once it really answers. Ends on Ctrl-C or SIGTERM, with exit code 0:
    requests under way finish within 5 s, sessions are closed.

    Examples:

      rlbridge serve CartPole-v1

      rlbridge serve my_package.simulator:make --bind grpc://127.0.0.1:0 --bind shm:///run/env.sock

      rlbridge serve CartPole-v1 --bind grpc://127.0.0.1:50051 --bind http://127.0.0.1:8080

      rlbridge serve env_servers/factory_line
    """
    from rlbridge.server import ServerLimits, ServerTls
    from rlbridge.server import serve as start
    from rlbridge.server.serve import DEFAULT_BIND

    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING, format="%(asctime)s %(levelname)s %(message)s"
    )
    if bool(tls_cert) != bool(tls_key) or (tls_client_ca and not tls_cert):
        raise typer.BadParameter("--tls-cert and --tls-key belong together, and --tls-client-ca needs them")
    limits = ServerLimits(
        max_sessions=max_sessions,
        max_sessions_per_client=max_sessions_per_client,
        max_opens_per_second=max_opens_per_second,
        max_envs=max_envs,
        max_message_bytes=int(max_message_mib * 1024 * 1024),
        lease_seconds=lease,
        show_tracebacks=not hide_tracebacks,
    )
    stop = threading.Event()
    with reported():
        server = start(
            env,
            bind or [DEFAULT_BIND],
            limits=limits,
            action_bounds=action_bounds.value if action_bounds else None,
            tokens=token_file,
            tls=ServerTls(tls_cert, tls_key, tls_client_ca) if tls_cert and tls_key else None,
            insecure=insecure,
            metrics=metrics,
            record=record,
        )

    def on_signal(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)  # a second one ends the process at once
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    for url in server.urls:
        typer.echo(f"serving {url}")
    while not stop.wait(1.0):
        pass
    if not server.stop():
        # An environment hangs in a thread that Python would wait for, for ever.
        logging.getLogger("rlbridge.server").warning("an environment did not come to an end; leaving without it")
        sys.stdout.flush()
        os._exit(0)
