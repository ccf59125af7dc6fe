"""One run: its curves as they grow, its log, and what can be asked of it."""

from __future__ import annotations

import asyncio
import time

from fastapi import Request
from nicegui import ui

from rlbridge.client.target import is_remote
from rlbridge.runs.folder import RunFolderError
from rlbridge.runs.process import tail
from rlbridge.runs.standing import Standing
from rlbridge.studio.charts import LineChart
from rlbridge.studio.curves import series
from rlbridge.studio.files import file_links
from rlbridge.studio.player_view import last_policy_view
from rlbridge.studio.pulse import Pulse
from rlbridge.studio.refusals import refusal
from rlbridge.studio.run_buttons import RunButtons
from rlbridge.studio.shell import frame, heading
from rlbridge.studio.words import Words
from rlbridge.studio.workshop import Workshop

_SECONDS = 1.0
_DRAW_SECONDS = 3.0  # drawing is most of what a page costs
_LOG_BYTES = 16_384
_LOSSES = ("train/loss", "train/value_loss", "train/critic_loss", "train/actor_loss", "train/policy_gradient_loss")


def add_to(workshop: Workshop) -> None:
    """The page at ``/run/NAME``."""

    @ui.page("/run/{name}")
    async def run_page(request: Request, name: str) -> None:
        with frame(request, "Run {name}", name=name) as t:
            try:
                now = await asyncio.to_thread(workshop.runs.standing, name)
            except (RunFolderError, ValueError) as error:
                ui.label(refusal(t, error)).props('role="alert"').classes("text-negative")
                return
            page = _RunPage(workshop, t, name)
            page.build(now)
            ui.timer(_SECONDS, page.refresh)  # nothing is awaited after a timer: it sends the page, whole or not


class _RunPage:
    def __init__(self, workshop: Workshop, t: Words, name: str) -> None:
        self._workshop, self._t, self._name = workshop, t, name
        self._path = workshop.runs.path(name)
        self._pulse = Pulse(t)
        self._seen: object = None
        self._drawn_at = -_DRAW_SECONDS
        self._trips: LineChart | None = None  # a local environment has no round trip

    def build(self, now: Standing) -> None:
        t = self._t
        with ui.element("section").classes("studio-card"):
            with ui.row().classes("studio-line full-width"):
                self._status = ui.badge().classes("text-body1 q-pa-sm").mark("status")
                self._status.props('role="status" data-testid="status"')
                self._what = ui.label(f"{now.algorithm.upper()} · {now.target}").classes("studio-quiet")
                ui.space()
                self._buttons = RunButtons(self._workshop, t, self._name)
                self._buttons.build()
            self._trouble = ui.label().classes("text-negative").style("white-space:pre-wrap")
            self._trouble.props('role="alert" data-testid="trouble"').mark("trouble")
            self._bar = ui.linear_progress(0.0, show_value=False).props(f'size=10px aria-label="{t("Progress")}"')
            self._bar.classes("q-my-sm")
            self._numbers = ui.label().mark("numbers").props('data-testid="numbers"')
            self._show(now)
        with ui.element("div").classes("studio-charts q-my-md"):
            self._returns = self._chart(t("Return"))
            self._losses = self._chart(t("Losses"))
            self._speed = self._chart(t("Steps per second"))
            if is_remote(now.target):
                self._trips = self._chart(t("Round trip in ms"))
        with ui.element("section").classes("studio-card q-mb-md"):
            heading(t("The current policy, playing"))
            last_policy_view(self._workshop, t, self._name)
        with ui.element("div").classes("studio-columns"):
            with ui.element("section").classes("studio-card"):
                heading(t("Log"))
                self._log = ui.element("pre").classes("studio-log").props(f'tabindex="0" aria-label="{t("Log")}"')
                with self._log:
                    self._log_text = ui.label().style("white-space:pre-wrap")
            with ui.element("section").classes("studio-card"):
                heading(t("Files"))
                file_links(self._path)

    def _chart(self, title: str) -> LineChart:
        with ui.element("section").classes("studio-card"):
            heading(title)
            return LineChart(self._t, title, 260)

    async def refresh(self) -> None:
        """Show how things stand. Cheap where nothing has changed: ten pages may look at one run."""
        try:
            now = await asyncio.to_thread(self._workshop.runs.standing, self._name)
        except (RunFolderError, ValueError) as error:  # deleted, or renamed
            self._trouble.text = refusal(self._t, error)
            return
        self._show(now)
        self._trouble.text = self._said(now) or await self._pulse.trouble(now)
        seen = (now.updated, now.status)
        due = time.monotonic() - self._drawn_at >= _DRAW_SECONDS or not now.alive
        if seen != self._seen and due:
            self._seen, self._drawn_at = seen, time.monotonic()
            await self._draw()
            self._log_text.text = await asyncio.to_thread(tail, self._path / "log.txt", _LOG_BYTES)

    def _show(self, now: Standing) -> None:
        self._buttons.show(now)
        self._status.text = self._t(now.status)
        self._status.props(f"color={_COLOURS[now.status]}")
        self._numbers.text = self._progress(now)
        self._bar.value = min(now.steps / now.total_steps, 1.0) if now.total_steps else 0.0

    async def _draw(self) -> None:
        rows = await asyncio.to_thread(self._workshop.curves.read, self._path / "metrics.jsonl")
        t = self._t
        self._returns.show(
            {t("episodes, mean of 100"): series(rows, "rollout/ep_rew_mean")},
            {t("evaluation"): series(rows, "eval/return_mean")},
        )
        losses = {name: series(rows, name) for name in _LOSSES}
        self._losses.show({name.partition("/")[2]: points for name, points in losses.items() if points})
        self._speed.show({t("Steps per second"): series(rows, "time/fps")})
        if self._trips is None:
            return
        trips = {"50 %": series(rows, "bridge/rtt_ms_p50"), "95 %": series(rows, "bridge/rtt_ms_p95")}
        self._trips.show({name: points for name, points in trips.items() if points})

    def _said(self, now: Standing) -> str:
        """Why it ended, where somebody should know."""
        if now.status == "failed":
            return now.why
        if now.status == "killed":
            return self._t("Its process has died. It can go on from its last checkpoint.")
        return ""

    def _progress(self, now: Standing) -> str:
        t, fps = self._t, now.metrics.get("time/fps", 0.0)
        parts = [t("{steps} of {total} transitions", steps=f"{now.steps:,}", total=f"{now.total_steps:,}")]
        parts.append(t("{n} episodes", n=f"{now.episodes:,}"))
        if now.best is not None:
            parts.append(t("best evaluation {value}", value=f"{now.best:.2f}"))
        if now.alive and fps:
            parts.append(t("{n} steps/s", n=f"{fps:,.0f}"))
            left = max(now.total_steps - now.steps, 0) / fps
            hours, seconds = divmod(int(min(left, 3.6e9)), 3_600)
            parts.append(t("{time} left", time=f"{hours}:{seconds // 60:02}:{seconds % 60:02}"))
        if (trip := now.metrics.get("bridge/rtt_ms_p50")) is not None:
            parts.append(t("round trip {ms} ms", ms=f"{trip:.2f}"))
        return " · ".join(parts)


_COLOURS = {
    **dict.fromkeys(("starting", "running"), "primary"),
    **dict.fromkeys(("paused", "stopping", "stopped"), "warning"),
    **dict.fromkeys(("failed", "killed"), "negative"),
    "finished": "positive",
}
