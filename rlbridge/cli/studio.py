"""``rlbridge studio``"""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from rlbridge.cli.failures import reported


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("studio", short_help="Set up, watch and test runs in a browser.")(studio)


def studio(
    bind: Annotated[
        str, typer.Option(help="http://HOST:PORT, or https://HOST:PORT with TLS; port 0: a free one.")
    ] = "http://127.0.0.1:8080",
    runs: Annotated[Path, typer.Option(help="The folder that holds run folders; nothing outside is shown.")] = Path(
        "runs"
    ),
    env_servers: Annotated[
        Path, typer.Option(help="A folder of folders with a serve.yaml each, which pages may serve.")
    ] = Path("env_servers"),
    target: Annotated[
        list[str] | None,
        typer.Option(help="module:factory or file.py:factory that pages may train on; may be given several times."),
    ] = None,
    token_file: Annotated[
        str | None, typer.Option(help="Lines 'control TOKEN'; who opens a page must type one.")
    ] = None,
    tls_cert: Annotated[str | None, typer.Option(help="PEM certificate chain, for https://.")] = None,
    tls_key: Annotated[str | None, typer.Option(help="PEM private key.")] = None,
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Open the studio: a page on which runs are set up, watched, steered, compared and tested.

    Prints a line `studio URL` once it answers. Ctrl-C ends the page, not the runs: training and servers have processes
    of their own, and a studio that is started again finds them.

    Examples:

      rlbridge studio --open

      rlbridge studio --bind https://0.0.0.0:8443 --tls-cert c.pem --tls-key k.pem --token-file tokens
    """
    if bool(tls_cert) != bool(tls_key):
        raise typer.BadParameter("--tls-cert and --tls-key belong together")
    with reported():
        try:
            from rlbridge.studio.app import Tls, serve_studio
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f"the studio needs NiceGUI: pip install 'rlbridge-toolkit[studio]' ({error.name} is missing)",
                name=error.name,
            ) from None
        from rlbridge.runs.manager import Runs
        from rlbridge.server.auth import Tokens
        from rlbridge.studio.servers import Servers
        from rlbridge.studio.workshop import Workshop, folder_of_servers

        workshop = Workshop(Runs(runs), Servers(runs / ".servers", folder_of_servers(env_servers)), list(target or []))

        def ready(url: str) -> None:
            typer.echo(f"studio {url}")
            if show:
                webbrowser.open(url)

        serve_studio(
            workshop,
            bind,
            tokens=Tokens.load(token_file) if token_file else None,
            tls=Tls(tls_cert, tls_key) if tls_cert and tls_key else None,
            on_ready=ready,
        )
