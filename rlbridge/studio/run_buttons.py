"""What can be asked of a run: hold, go on, end, and end at once what does not answer."""

from __future__ import annotations

import time
from typing import Any

from nicegui import ui

from rlbridge.runs.standing import Standing
from rlbridge.studio.shell import confirmed, done, tell
from rlbridge.studio.words import Words
from rlbridge.studio.workshop import Workshop

_PATIENCE = 10.0


class RunButtons:
    """The buttons of one run; those that make no sense now are not there."""

    def __init__(self, workshop: Workshop, t: Words, name: str) -> None:
        self._workshop, self._runs, self._t, self._name = workshop, workshop.runs, t, name
        self._now: Standing | None = None
        self._starting_since: float | None = None  # [s, monotonic], as far as this page has seen

    def build(self) -> None:
        t = self._t
        self._pause = self._button(t("Pause"), "pause", self._hold, "pause")
        self._resume = self._button(t("Resume"), "play_arrow", self._go_on, "resume")
        self._stop = self._button(t("Stop"), "stop", self._end, "stop")
        self._more = self._button(t("Train further"), "fast_forward", self._train_further, "further")
        self._kill = self._button(t("Kill"), "dangerous", self._end_at_once, "kill").props("color=negative")
        self._button(t("Clone"), "content_copy", lambda: ui.navigate.to(f"/new?like={self._name}"), "clone")

    def _button(self, label: str, icon: str, act: Any, mark: str) -> ui.button:
        return ui.button(label, icon=icon, on_click=act).props(f'outline data-testid="{mark}"').mark(mark)

    def show(self, now: Standing) -> None:
        """Offer what makes sense now."""
        self._now = now
        if now.status != "starting":
            self._starting_since = None
        elif self._starting_since is None:
            self._starting_since = time.monotonic()
        silent = now.status == "stopping" and time.time() - self._asked_at() > _PATIENCE
        silent |= self._starting_since is not None and time.monotonic() - self._starting_since > _PATIENCE
        left = now.steps < now.total_steps
        self._pause.set_visibility(now.status == "running")
        self._stop.set_visibility(now.status in ("running", "paused", "starting"))
        self._resume.set_visibility(now.status == "paused" or (not now.alive and left and now.why != "target_return"))
        self._more.set_visibility(now.status == "finished")
        self._kill.set_visibility(silent)

    def _asked_at(self) -> float:
        """When it was asked to stop, by whomever [s of the system's clock]."""
        try:
            return (self._runs.path(self._name) / "stop").stat().st_mtime
        except OSError:
            return time.time()

    async def _hold(self) -> None:
        await done(self._t, self._runs.pause, self._name)

    async def _go_on(self) -> None:
        if not await done(self._t, self._workshop.require_run, self._name):
            return
        if self._now is not None and not (self._runs.path(self._name) / "config.yaml").is_file():
            await done(self._t, self._runs.start_again, self._name)
        else:
            await done(self._t, self._runs.resume, self._name)

    async def _end(self) -> None:
        said = self._t("It stops before its next step, with a checkpoint.")
        await done(self._t, self._runs.stop, self._name, said=said)

    async def _end_at_once(self) -> None:
        question = self._t(
            "End the process of {name} at once? What it did since its last checkpoint is lost.", name=self._name
        )
        if await confirmed(self._t, question, self._t("Kill")):
            await done(self._t, self._runs.kill, self._name)

    async def _train_further(self) -> None:
        t, now = self._t, self._now
        assert now is not None
        with ui.dialog() as dialog, ui.card():
            steps = ui.number(t("Until so many transitions"), value=2 * now.total_steps, min=now.steps + 1, step=1)
            steps.props("autofocus").mark("until")
            with ui.row():
                ui.button(t("Cancel"), on_click=lambda: dialog.submit(None)).props("flat")
                ui.button(t("Train further"), on_click=lambda: dialog.submit(steps.value)).mark("further-now")
        until = await dialog
        dialog.delete()
        if until and until <= now.steps:
            tell(t("It has done {n} already: ask for more.", n=f"{now.steps:,}"), type="negative")
        elif until:
            await done(t, self._runs.resume, self._name, [f"algorithm.total_steps={int(until)}"])
