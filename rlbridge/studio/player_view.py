"""A player on a page: its buttons, its picture, its scores."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from nicegui import ui

from rlbridge.studio.player import Performance, Player, stream_arguments
from rlbridge.studio.policies import evaluate_arguments
from rlbridge.studio.shell import REFUSALS, tell
from rlbridge.studio.words import Words
from rlbridge.studio.workshop import Workshop

FRAMES = 12.0
"""Pictures a second that a page asks for."""
_SECONDS = 0.05
_TABLE_SECONDS = 0.5
_SHOWN_SECONDS = 1.0
_ROWS = 100

Arguments = Callable[[], Awaitable[Sequence[str] | None]]


class PlayerView:
    """Plays what it is told to once its button is pressed; the page's end, or another start, ends the player.

    Args:
        t: the words.
        arguments: called at a start; gives what :class:`Player` takes, or None to start nothing (it says why itself).
        action: on the start button.
    """

    def __init__(self, t: Words, arguments: Arguments, action: str) -> None:
        self._t, self._arguments = t, arguments
        self._client = ui.context.client
        self._player: Player | None = None
        self._frames, self._count, self._table_at = 0, 0, 0.0
        self._sent_at = 0.0  # when the picture that the browser has not shown yet was sent; 0 = it has
        with ui.row().classes("q-mt-sm").style("align-items:center"):
            self._start = ui.button(action, icon="play_arrow", on_click=self.start)
            self._start.mark("play").props("data-testid=play")
            self._stop = ui.button(t("Stop"), icon="stop", color="negative", on_click=self.stop)
            self._stop.mark("stop-playing").props("data-testid=stop-playing")
            self._status = ui.label().props('role="status"').mark("player-status")
        self._problem = ui.label().props('role="alert"').classes("text-negative").mark("player-problem")
        self._problem.style("overflow-wrap:anywhere")
        with ui.row().classes("items-start full-width q-mt-sm"):
            with ui.element("figure").style("margin:0;max-width:100%") as self._figure:
                self._image = ui.element("img").mark("frame").style("max-width:100%;border:1px solid #d7dce3")
                self._image.props(f'alt="{t("The environment as the policy plays it")}" data-testid=frame')
                self._image.on("load", self._is_shown, args=[])
                with ui.element("figcaption").classes("studio-quiet"):
                    self._caption = ui.label().mark("frame-caption")
            with ui.element("div").style("flex:1 1 18rem;min-width:0"):
                self._figures = (
                    ui.label().classes("text-bold").mark("player-figures").props("data-testid=player-figures")
                )
                self._table = _table(t)
        self._timer = ui.timer(_SECONDS, self._refresh, active=False)
        self._client.on_delete(self.stop)
        self._clear()

    @property
    def player(self) -> Player | None:
        """The one that was started last."""
        return self._player

    async def start(self) -> None:
        """As the start button does."""
        self._start.disable()
        arguments = await self._arguments()
        if arguments is not None:
            await self.stop()
            self._clear()
            try:
                self._player = await asyncio.to_thread(Player, arguments)
            except OSError as error:  # no process to be had
                self._complain(str(error))
            if self._client.is_deleted:
                await self.stop()
                return
            self._timer.activate()
        self._refresh()

    async def stop(self) -> None:
        """As the stop button does; also when nothing plays."""
        player = self._player
        if player is not None and player.alive:
            if not self._client.is_deleted:
                self._stop.disable()
            await asyncio.to_thread(player.stop)

    def _clear(self) -> None:
        self._player, self._frames, self._count, self._sent_at = None, 0, 0, 0.0
        self._figure.set_visibility(False)
        self._table.set_visibility(False)
        self._problem.set_visibility(False)
        self._figures.set_text("")
        self._stop.disable()

    def _refresh(self) -> None:
        now = None if self._player is None else self._player.look()
        playing = now is not None and now.status in ("starting", "playing")
        self._start.set_enabled(not playing)
        self._stop.set_enabled(playing)
        if now is None:
            return
        self._status.set_text(self._t(now.status))
        if now.why or now.no_frames:
            self._complain(now.why or self._t("No pictures, only scores: {why}", why=now.no_frames))
        self._show_frame(now)
        self._show_scores(now, last=not playing)
        if not playing:
            self._timer.deactivate()

    def _show_frame(self, now: Performance) -> None:
        # One at a time: pictures for a browser that is slow to show them would pile up on the way there.
        if now.frames == self._frames or time.monotonic() - self._sent_at < _SHOWN_SECONDS:
            return
        self._frames, self._sent_at = now.frames, time.monotonic()
        self._image.props["src"] = f"data:image/jpeg;base64,{now.frame}"
        self._image.update()
        episode, step, score = now.now
        self._caption.set_text(
            self._t("Episode {episode}, step {step}, return {score}", episode=episode, step=step, score=f"{score:.2f}")
        )
        self._figure.set_visibility(True)

    def _is_shown(self) -> None:
        self._sent_at = 0.0

    def _show_scores(self, now: Performance, last: bool) -> None:
        if now.count == self._count or (time.monotonic() - self._table_at < _TABLE_SECONDS and not last):
            return
        self._count, self._table_at = now.count, time.monotonic()
        self._figures.set_text(
            self._t(
                "{count} episodes: return {mean} ± {deviation}",
                count=now.count,
                mean=f"{now.mean:.2f}",
                deviation=f"{now.deviation:.2f}",
            )
        )
        self._table.rows = [
            {"episode": one.number, "return": round(one.score, 3), "length": one.length}
            for one in reversed(now.episodes[-_ROWS:])
        ]
        self._table.set_visibility(True)

    def _complain(self, text: str) -> None:
        self._problem.set_text(text)
        self._problem.set_visibility(True)


def last_policy_view(workshop: Workshop, t: Words, name: str) -> PlayerView:
    """Plays one episode with the last checkpoint that the run ``name`` has by then, where it trains, with pictures."""

    async def arguments() -> list[str] | None:
        try:
            await asyncio.to_thread(workshop.require_run, name)
            what = await asyncio.to_thread(evaluate_arguments, workshop.runs, name, "last")
        except REFUSALS as error:
            tell(str(error), type="negative")
            return None
        return [*what, *stream_arguments(episodes=1, frames=FRAMES)]

    return PlayerView(t, arguments, t("Play one episode"))


def _table(t: Words) -> ui.table:
    names: dict[str, Any] = {"episode": t("Episode"), "return": t("Return"), "length": t("Steps")}
    table = ui.table(
        columns=[{"name": name, "label": label, "field": name, "align": "right"} for name, label in names.items()],
        rows=[],
        row_key="episode",
        pagination={"rowsPerPage": 10},
    ).classes("full-width")
    table.props(f'flat bordered dense rows-per-page-label="{t("Rows per page")}" data-testid=episodes')
    table.props(f'aria-label="{t("The latest episodes")}"').props(
        ":pagination-label=\"(a, b, n) => a + '-' + b + ' / ' + n\""
    )
    table.mark("episodes")
    return table
