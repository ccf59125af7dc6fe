"""Environment servers of this machine: started, watched and stopped here; and the operator's panels of plants."""

from __future__ import annotations

import asyncio
import html
from pathlib import Path

from fastapi import Request
from nicegui import ui

from rlbridge.studio.health import Health, HealthCheck
from rlbridge.studio.plant_desk import PlantDesk
from rlbridge.studio.plant_files import PlantEntry, Unreadable, plants_in
from rlbridge.studio.plant_panel import PlantPanel
from rlbridge.studio.server_card import ServerCard
from rlbridge.studio.servers import EnvServer, ServerError
from rlbridge.studio.shell import confirmed, done, frame, heading, tell
from rlbridge.studio.words import Words
from rlbridge.studio.workshop import REMOTE, TargetRefused, Workshop

_SECONDS = 2.0


def add_to(workshop: Workshop) -> None:
    """The page at ``/servers``."""
    check = HealthCheck()

    @ui.page("/servers")
    async def servers_page(request: Request) -> None:
        with frame(request, "Servers") as t:
            found = await asyncio.to_thread(_plants, workshop)
            if found and any(found):
                _build_plants(t, *found)
            servers = _ServerList(workshop, t, check)
            _StartForm(workshop, t, servers).build()
            servers.build()


def _plants(workshop: Workshop) -> tuple[list[PlantEntry], list[Unreadable]]:
    """Of the catalog, and of running servers that were started with another one."""
    running = {server.environment: Path(server.folder) for server in workshop.servers.all() if server.folder}
    return plants_in({**running, **workshop.servers.catalog})


def _build_plants(t: Words, plants: list[PlantEntry], unreadable: list[Unreadable]) -> None:
    heading(t("Plants"))
    for file in unreadable:
        text = t(
            "{file} cannot be read, so if it is a plant it has no panel here: {problem}",
            file=file.file,
            problem=file.problem,
        )
        ui.label(text).props('role="alert"').mark("unreadable-plant").style("color:#b3261e;overflow-wrap:anywhere")
    for plant in plants:
        PlantPanel(t, PlantDesk(plant))


class _ServerList:
    def __init__(self, workshop: Workshop, t: Words, check: HealthCheck) -> None:
        self._workshop, self._t, self._check = workshop, t, check
        self._cards: dict[str, ServerCard] = {}

    def build(self) -> None:
        heading(self._t("Servers"))
        self._place = ui.column().classes("full-width")
        with self._place:
            self._none = ui.label(self._t("No server was started here.")).classes("studio-quiet")
        ui.timer(_SECONDS, self.refresh)

    async def refresh(self) -> None:
        """Look at them all; those that can be asked are asked, side by side."""
        servers: list[EnvServer] = await asyncio.to_thread(self._workshop.servers.all)
        self._check.keep({server.urls[0] for server in servers if server.urls})
        healths = await asyncio.gather(*(self._health(server) for server in servers))
        for name in self._cards.keys() - {server.name for server in servers}:
            self._cards.pop(name).element.delete()
        self._none.set_visibility(not servers)
        for server, health in zip(servers, healths, strict=True):
            if server.name not in self._cards:
                with self._place:
                    self._cards[server.name] = ServerCard(self._t, server, self._stop, self._forget)
            self._cards[server.name].show(server, health)

    async def _health(self, server: EnvServer) -> Health | None:
        return await self._check.of(server.urls[0]) if server.alive and server.urls else None

    async def _stop(self, name: str) -> None:
        t = self._t
        question = t("Stop {name}? Its sessions are closed; a plant goes to its safe action.", name=name)
        if await confirmed(t, question, t("Stop")):
            tell(t("Stopping {name} …", name=name))
            await done(t, self._workshop.servers.stop, name, said=t("{name} has ended.", name=name))
            await self.refresh()

    async def _forget(self, name: str) -> None:
        await done(self._t, self._workshop.servers.forget, name)
        await self.refresh()


class _StartForm:
    def __init__(self, workshop: Workshop, t: Words, servers: _ServerList) -> None:
        self._workshop, self._t, self._servers = workshop, t, servers

    def build(self) -> None:
        t, workshop = self._t, self._workshop
        heading(t("Start a server"))
        names = [*workshop.servers.catalog, *workshop.local_targets()]
        with ui.element("section").classes("studio-card q-mb-md"), ui.row().classes("full-width"):
            self._what = ui.input(t("Environment"), placeholder="CartPole-v1")
            self._what.props('outlined dense hide-bottom-space autocomplete="off" data-testid="serve-what"')
            self._what.without_auto_validation().mark("serve-what").style("width:26rem;max-width:100%")
            self._what.on("keydown.enter", self._start)
            # The input refers to a list of that name; the library's own is there on telephones only.
            options = "".join(f'<option value="{html.escape(name)}"></option>' for name in names)
            ui.html(f'<datalist id="{self._what.html_id}-datalist">{options}</datalist>', sanitize=False)
            self._button = ui.button(t("Start"), icon="play_arrow", on_click=self._start).mark("start-server")
            self._button.props('data-testid="start-server"')
        self._what.on_value_change(self._forgive)

    def _forgive(self) -> None:
        self._what.error = None

    async def _start(self) -> None:
        try:
            what = servable(self._workshop, self._what.value or "")
            self._button.disable()
            await asyncio.to_thread(self._workshop.servers.start, what)
        except (TargetRefused, ServerError, OSError) as error:
            self._what.error = str(error)
            return
        finally:
            self._button.enable()
        tell(self._t("Started; it answers in a moment."), type="positive")
        await self._servers.refresh()


def servable(workshop: Workshop, name: str) -> str:
    """The name of a catalog's folder, or of an environment that pages may name.

    Raises:
        TargetRefused: it is neither, or a server already.
    """
    name = name.strip()
    if name in workshop.servers.catalog:
        return name
    if name.startswith(REMOTE):
        raise TargetRefused(f"{name!r} is a server's address: it is served already.")
    return workshop.require_target(name)
