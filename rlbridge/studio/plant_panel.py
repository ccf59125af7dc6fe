"""An operator's panel for one plant: e-stop, mode, signals with their limits, interlocks, advice, the audit's end."""

from __future__ import annotations

import asyncio
import shlex
import time
from typing import Any

from nicegui import ui

from rlbridge.plants.settings import MODES
from rlbridge.studio.estop import EstopButton
from rlbridge.studio.plant_desk import PlantDesk
from rlbridge.studio.plant_now import Advice, PlantNow
from rlbridge.studio.plant_words import advice_text, columns, interlock_text, line, row
from rlbridge.studio.shell import heading, tell
from rlbridge.studio.words import Words

_SECONDS = 1.0
_STALE_SECONDS = 5.0
_LINES = 30


class PlantPanel:
    """Built where it is made; looks at the plant's files every second, off the page's own thread."""

    def __init__(self, t: Words, desk: PlantDesk) -> None:
        self._t, self._desk = t, desk
        self._now: PlantNow | None = None
        self._looking, self._looked_at = asyncio.Lock(), time.monotonic()
        plant = desk.plant
        command = f"rlbridge plant estop {shlex.quote(str(plant.operator))}"
        with ui.element("section").classes("studio-card q-mb-md").mark(f"plant-{plant.name}"):
            with ui.row().classes("full-width").style("align-items:center"):
                with ui.column().classes("q-gutter-none").style("gap:.2rem"):
                    heading(plant.name, 3)
                    self._mode_said = ui.label().mark("plant-mode").classes("text-bold")
                    self._session_said = ui.label().mark("plant-session").classes("studio-quiet")
                ui.space()
                self.estop = EstopButton(t, plant.name, command, desk.estop)
            self._stale = ui.label().props('role="alert"').mark("plant-stale").style("color:#b3261e;font-weight:700")
            self._notes = ui.label().props('role="status"').mark("plant-notes")
            self._notes.style("color:#8a2b00;font-weight:600;white-space:pre-wrap;overflow-wrap:anywhere")
            ui.label(t("If this page does not answer: {command}", command=command)).classes("studio-quiet studio-mono")
            self._build_orders()
            self._signals = ui.table(columns=columns(t), rows=[], row_key="name").classes("full-width")
            self._signals.props(f'dense flat no-data-label="{t("The audit does not tell of any signal yet.")}"')
            self._signals.mark("signals")
            heading(t("Interlocks"), 4)
            self._interlocks = ui.label().mark("interlocks").style("white-space:pre-wrap")
            with ui.expansion(t("The audit's last lines")).classes("full-width").mark("audit"):
                self._audit = ui.label().classes("studio-mono full-width").mark("audit-lines")
                self._audit.style("white-space:pre;overflow:auto;max-height:20rem").props('tabindex="0"')
        ui.timer(_SECONDS, self.refresh)
        ui.timer(_SECONDS, self._watch)

    def _build_orders(self) -> None:
        """What needs the token."""
        t = self._t
        with ui.row().classes("q-my-sm"):
            self._token = ui.input(t("The operator's token"), password=True).props(
                'dense outlined hide-bottom-space autocomplete="off" data-testid="token"'
            )
            self._token.without_auto_validation().mark("token").style("width:20rem;max-width:100%")
            self._token.on_value_change(lambda: self._refused(None))
            self._mode = ui.select({mode: t(mode) for mode in MODES}, label=t("Mode"), value=self._desk.plant.mode)
            self._mode.props('dense outlined data-testid="mode"').mark("mode").style("min-width:9rem")
            self._shown_mode = self._desk.plant.mode
            switch = ui.button(t("Switch mode"), on_click=lambda: self._order("mode", mode=self._mode.value))
            switch.mark("switch-mode").props('outline data-testid="switch-mode"')
            clear = ui.button(t("Clear e-stop and latches"), on_click=lambda: self._order("clear"))
            clear.mark("clear").props('outline data-testid="clear"')
            self._advise = ui.button(t("Look at advice"), on_click=self._show_advice).mark("advice")
            self._advise.set_visibility(False)

    # --------------------------------------------------------------------------------------------------- orders

    async def _order(self, verb: str, **arguments: Any) -> None:
        try:
            await asyncio.to_thread(lambda: self._desk.command(verb, self._token.value or "", **arguments))
        except (OSError, ValueError) as error:
            self._refused(str(error))
            return
        self._refused(None)
        tell(self._t("Signed and written: {verb}", verb=self._t(verb)), type="positive")
        await self.refresh()

    def _refused(self, problem: str | None) -> None:
        """Says next to the field why the token, or what was signed with it, was not taken."""
        self._token.error = problem

    async def _show_advice(self) -> None:
        """What can be confirmed, standing still: in the panel another number might come under the finger."""
        t = self._t
        with ui.dialog() as dialog, ui.card():
            heading(t("Advice of {plant}", plant=self._desk.plant.name))
            pending: list[Advice] = self._now.advice if self._now else []
            for advice in pending:
                with ui.row().style("align-items:center"):
                    ui.label(advice_text(t, advice))
                    button = ui.button(
                        t("Confirm {n}", n=advice.number), on_click=lambda n=advice.number: dialog.submit(n)
                    )
                    button.mark(f"confirm-{advice.number}").mark("confirm-advice")
            ui.button(t("Cancel"), on_click=lambda: dialog.submit(None)).props("flat autofocus")
        number = await dialog
        dialog.delete()
        if number is not None:
            await self._order("confirm", advice=number)

    # --------------------------------------------------------------------------------------------------- looking

    async def refresh(self) -> None:
        """Look, and show."""
        async with self._looking:
            began = time.monotonic()
            now = await asyncio.to_thread(self._desk.look)
            self._now, self._looked_at = now, began
            self._show(now, began)

    def _watch(self) -> None:
        """Whoever looks at old values must know; looking itself cannot say so while it hangs."""
        seconds = round(time.monotonic() - self._looked_at)
        stale = seconds > _STALE_SECONDS
        self._stale.text = self._t("What is shown here is {n} s old.", n=seconds) if stale else ""

    def _show(self, now: PlantNow, began: float) -> None:
        t = self._t
        if not now.unreadable:
            self.estop.show(now.estop, began)
        self._mode_said.text = t("Mode: {mode}", mode=t(now.mode))
        if self._shown_mode != now.mode:  # what somebody has chosen since stays
            self._shown_mode, self._mode.value = now.mode, now.mode
        self._session_said.text = self._session_text(now)
        self._notes.text = "\n".join(self._warnings(now))
        self._advise.set_visibility(bool(now.advice))
        rows = [row(t, signal) for signal in now.signals]
        if rows != self._signals.rows:
            self._signals.rows = rows
        self._interlocks.text = "\n".join(interlock_text(t, lock) for lock in now.interlocks) or t("none")
        self._audit.text = "\n".join(line(record) for record in now.records[: -_LINES - 1 : -1])

    def _session_text(self, now: PlantNow) -> str:
        t = self._t
        if now.at is None:
            return t("No session yet: nothing has been written to the audit.")
        seconds = max(0, round(time.time() - now.at))
        if not now.session:
            return t("No session. The last one ended {n} s ago: what is shown below is from then.", n=seconds)
        return t("Session of {by}, last line {n} s ago", by=now.session, n=seconds)

    def _warnings(self, now: PlantNow) -> list[str]:
        t, found = self._t, []
        if now.unreadable:
            found.append(t("What is in force is not known here: {problem}", problem=now.estop))
        if now.estop and not now.session and not now.unreadable:
            found.append(t("No session is open: nobody acts on the plant, and the next session finds it stopped."))
        if now.late:
            found.append(
                t(
                    "The session is open, but its gate writes nothing any more: the server hangs or is dead. An e-stop "
                    "is obeyed when it lives again; until then only the plant's own safety system acts."
                )
            )
        elif not now.heeded:
            found.append(t("The gate has not taken note of the operator's file yet; it does at its next step."))
        if now.refused:
            found.append(
                t("{n} line(s) of the operator's file are not signed by an operator: not obeyed.", n=now.refused)
            )
        return found
