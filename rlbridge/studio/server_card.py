"""One environment server on the page: how it is, where it answers, and what can be done with it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import quote

from nicegui import ui

from rlbridge.studio.health import Health
from rlbridge.studio.servers import EnvServer
from rlbridge.studio.shell import heading, tell
from rlbridge.studio.words import Words

_COLOURS = {"answers": "#1d7a46", "does not answer": "#b3261e", "did not start": "#b3261e", "starting": "#8a5a00"}
Action = Callable[[str], Awaitable[None]]


class ServerCard:
    """Built where it is made; :meth:`show` brings it up to date.

    Args:
        t: the words.
        server: whose card it is.
        stop, forget: called with the server's name.
    """

    def __init__(self, t: Words, server: EnvServer, stop: Action, forget: Action) -> None:
        self._t, self._name = t, server.name
        self._shown: tuple[object, ...] = ()
        self._failed = False
        with ui.element("section").classes("studio-card").mark(f"server-{server.name}") as self.element:
            with ui.row().classes("full-width").style("align-items:baseline"):
                heading(server.name, 3)
                self._status = ui.label().mark("server-status").classes("text-bold")
                ui.space()
                self._stop = ui.button(t("Stop"), icon="stop", on_click=lambda: stop(server.name)).mark("stop-server")
                self._stop.props(f'outline color=negative data-testid="stop-{server.name}"')
                self._forget = ui.button(t("Forget"), icon="clear", on_click=lambda: forget(server.name))
                self._forget.mark("forget-server").props(f'outline data-testid="forget-{server.name}"')
            self._facts = ui.label().mark("server-facts").classes("studio-quiet").style("overflow-wrap:anywhere")
            self._places = ui.column().classes("full-width").style("gap:.2rem")
            with ui.expansion(t("The end of its output")).classes("full-width").mark("server-output") as self._told:
                self._output = ui.label().classes("studio-mono full-width").mark("output-text").props('tabindex="0"')
                self._output.style("white-space:pre-wrap;overflow:auto;max-height:20rem;overflow-wrap:anywhere")

    def show(self, server: EnvServer, health: Health | None) -> None:
        """How it is now.

        Args:
            health: what came of asking it; None if there is nothing to ask yet, or any more.
        """
        t, status = self._t, status_of(server, health)
        self._status.text = t(status)
        self._status.style(f"color:{_COLOURS.get(status, '#4a5564')}")
        self._facts.text = " · ".join(self._said(server, health))
        self._stop.set_visibility(server.alive)
        self._forget.set_visibility(not server.alive)
        self._output.text = server.output or t("nothing yet")
        if status == "did not start" and not self._failed:
            self._failed = True
            self._told.value = True
        offers = health.environments if health else ()
        shown = (server.alive and server.urls, offers)
        if shown != self._shown and (offers or not (health and health.problem)):  # a silent one keeps what it had
            self._shown = shown
            self._show_places(server.urls if server.alive else (), offers)

    def _said(self, server: EnvServer, health: Health | None) -> list[str]:
        t = self._t
        said = [t("serves {environment}", environment=server.environment), t("process {pid}", pid=server.pid)]
        if health is not None and health.answers:
            said.append(t("{open} of {most} sessions open", open=health.open_sessions, most=health.max_sessions))
            said.append(t("answered in {n} ms", n=round(health.milliseconds)))
        elif health is not None:
            said.append(health.problem)
        return said

    def _show_places(self, urls: tuple[str, ...], offers: tuple[tuple[str, str], ...]) -> None:
        t, names = self._t, [name for name, _ in offers]
        self._places.clear()
        with self._places:
            for url in urls:
                with ui.row().style("align-items:center;gap:.3rem"):
                    ui.label(url).classes("studio-mono").mark("server-url")
                    copy = ui.button(icon="content_copy", on_click=lambda url=url: self._copy(url)).mark("copy-url")
                    copy.props("flat dense round size=sm")
                    copy.props["aria-label"] = t("Copy {url}", url=url)
            for offered in offers if urls else ():
                ui.label(": ".join(part for part in offered if part)).mark("server-offer")
            if urls and names:
                with ui.row():
                    for name in names:
                        target = urls[0] if len(names) == 1 else f"{urls[0]}/{quote(name, safe='')}"
                        said = t("Train on it") if len(names) == 1 else t("Train on {name}", name=name)
                        train = ui.button(said, icon="model_training").mark("train-on")
                        train.props(f'href="/new?target={quote(target, safe="")}" data-testid="train-on"')

    def _copy(self, url: str) -> None:
        ui.clipboard.write(url)
        tell(self._t("Copied"))


def status_of(server: EnvServer, health: Health | None) -> str:
    """In one or a few words, in English."""
    if not server.alive:
        return "ended" if server.urls else "did not start"
    if not server.urls or health is None:
        return "starting"
    return "answers" if health.answers else "does not answer"
