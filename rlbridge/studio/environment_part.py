"""The part of a page on which an environment is named and looked at."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from nicegui import ui

from rlbridge.studio.legacy import LegacyRefused, describe_legacy
from rlbridge.studio.probe import Facts, ProbeFailed, lines_of, probe
from rlbridge.studio.refusals import refusal
from rlbridge.studio.shared import is_shared
from rlbridge.studio.shell import REFUSALS, heading
from rlbridge.studio.words import Words
from rlbridge.studio.workshop import TargetRefused, Workshop

_SERVER_SECONDS = 60.0


class EnvironmentPart:
    """A target, typed, or served from a folder of this machine or from a first-generation server; and its probe.

    Args:
        workshop, t: the page's.
        target: what it begins with.
        on_target: called with every other target.
        on_facts: called with what a probe has found.

    Attributes:
        facts: what the last probe found; None if the target has been changed since.
    """

    def __init__(
        self,
        workshop: Workshop,
        t: Words,
        target: str,
        on_target: Callable[[str], object],
        on_facts: Callable[[Facts], object],
    ) -> None:
        self._workshop, self._t, self._begin = workshop, t, target
        self._on_target, self._on_facts = on_target, on_facts
        self.facts: Facts | None = None
        self._probing: str | None = None

    def build(self) -> None:
        t = self._t
        with ui.element("section").classes("studio-card"):
            heading(t("Environment"))
            with ui.row().classes("items-start full-width"):
                self._target = ui.input(
                    t("Gymnasium id, or a server such as grpc://host:50051"),
                    value=self._begin,
                    autocomplete=self._workshop.local_targets(),
                    on_change=self._changed,
                ).classes("studio-wide")
                self._target.without_auto_validation().mark("target")
                self._target.props('outlined dense debounce=200 data-testid="target"')
                self._target.on("keydown.enter", self._probe)
                self._probe_button = ui.button(t("Probe"), icon="search", on_click=self._probe).mark("probe")
            self._build_folders()
            self._build_legacy()
            self._found = ui.element("div").classes("q-mt-sm").props('role="status" aria-live="polite"')

    def _build_folders(self) -> None:
        t = self._t
        if not self._workshop.servers.catalog:
            return
        with ui.row().classes("items-start full-width q-mt-sm"):
            folders = list(self._workshop.servers.catalog)
            self._folder = ui.select(folders, label=t("Or serve a simulator of this machine")).classes("studio-wide")
            self._folder.without_auto_validation().mark("folder")
            self._folder.props('outlined dense data-testid="folder"')
            button = ui.button(t("Serve and use it")).props("outline").mark("serve")
            button.on_click(lambda: self._serve(self._folder, button, str(self._folder.value or "")))

    def _build_legacy(self) -> None:
        t = self._t
        with (
            ui.expansion(t("Or a first-generation HTTP server")).classes("full-width").mark("legacy"),
            ui.element("div").classes("studio-fields"),
        ):
            self._url = ui.input(t("Its address"), placeholder="http://127.0.0.1:8000/").mark("legacy-url")
            self._state = ui.input(t("Its initial state"), placeholder="0, 0, 0, 0").mark("legacy-state")
            self._actions = ui.input(t("Number of actions"), placeholder="2").mark("legacy-actions")
            for field in (self._url, self._state, self._actions):
                field.without_auto_validation().props("outlined dense")
            button = ui.button(t("Serve and use it")).props("outline").mark("legacy-serve")
            button.on_click(lambda: self._serve_legacy(button))

    # ------------------------------------------------------------------------------------------------------- following

    def set_target(self, target: str) -> None:
        """Show another target."""
        if self._target.value != target:
            self._target.value = target

    def refuse(self, why: Exception) -> None:
        """Say beside the target what is wrong with it."""
        self._target.error = refusal(self._t, why)

    def _changed(self, event: Any) -> None:
        self._target.error = None
        self._found.clear()
        self.facts = None
        self._on_target(str(event.value or ""))

    async def probe(self) -> bool:
        """Look at the environment, unless that has been done; whether there is one."""
        if self.facts is None:
            await self._probe()
        return self.facts is not None

    async def _probe(self) -> None:
        typed = str(self._target.value or "")
        if self._probing == typed:
            return
        self._probing = typed
        self._probe_button.props("loading")
        self._found.clear()
        try:
            target = self._workshop.require_target(typed)
            shared = await asyncio.to_thread(is_shared, self._workshop.servers, target)
            facts = await asyncio.get_running_loop().run_in_executor(self._workshop.slow, probe, target)
            facts = replace(facts, shared=shared)
        except (TargetRefused, ProbeFailed) as error:
            if self._target.value == typed:
                self.refuse(error)
            return
        finally:
            self._probing = None
            self._probe_button.props(remove="loading")
        if self._target.value == typed:  # somebody may have typed on meanwhile
            self.facts = facts
            self._show(facts)
            self._on_facts(facts)

    def _show(self, facts: Facts) -> None:
        t = self._t
        with self._found:
            if not facts.algorithms:
                trouble = ui.label(t("No algorithm here drives these actions: {space}", space=facts.action_space))
                trouble.classes("text-negative")
            with ui.element("dl").classes("studio-facts"):
                for name, value in lines_of(facts.told):
                    with ui.element("dt"):
                        ui.label(t(name))
                    with ui.element("dd"):
                        ui.label(t(value) if name == "server" else value)

    async def _serve(self, field: Any, button: ui.button, name: str) -> None:
        """Start a server of that folder, unless there is one, and take it as the environment."""
        if not name:
            field.error = self._t("Choose one first.")
            return
        button.props("loading")
        try:
            server = await asyncio.to_thread(self._workshop.servers.ready, name, _SERVER_SECONDS)
        except REFUSALS as error:
            field.error = refusal(self._t, error)
            return
        finally:
            button.props(remove="loading")
        field.error = None
        self._target.value = server.urls[0]
        await self._probe()

    async def _serve_legacy(self, button: ui.button) -> None:
        folder = self._workshop.servers.folder / "legacy"
        typed = [str(field.value or "") for field in (self._url, self._state, self._actions)]
        try:
            name, place = describe_legacy(folder, *typed)
        except LegacyRefused as error:
            self._url.error = refusal(self._t, error)
            return
        self._workshop.servers.catalog[name] = place
        await self._serve(self._url, button, name)
