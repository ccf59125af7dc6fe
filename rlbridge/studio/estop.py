"""The e-stop: one click writes the operator's file. It waits for no server, no token and no other work of the page."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from nicegui import ui

from rlbridge.studio.words import Words

_SECONDS = 3.0


class EstopButton:
    """A large red button, and beside it what came of it.

    Args:
        t: the words.
        plant: its name.
        command: what to type where this page does not answer.
        act: stops the plant and returns what is in force; raises OSError where it could not.
    """

    def __init__(self, t: Words, plant: str, command: str, act: Callable[[], str]) -> None:
        self._t, self._act, self._command = t, act, command
        self._pressed_at, self._presses = 0.0, 0
        self._failed = False
        self.button = ui.button(t("E-STOP"), on_click=self._press, color=None).mark("estop")
        self.button.style(
            "background:#b3001b;color:#fff;font-size:1.5rem;font-weight:800;min-height:4.5rem;min-width:12rem;"
            "border:3px solid #5e000e;border-radius:10px"
        )
        self.button.props('data-testid="estop" unelevated')
        self.button.props["aria-label"] = t("E-STOP of {plant}", plant=plant)
        # There before it says anything: only then do screen readers announce what it says.
        self.said = ui.label().props('role="alert"').mark("estop-said").classes("full-width")
        self.said.style("font-weight:700;white-space:pre-wrap;overflow-wrap:anywhere")

        self.said.props["data-presses"] = 0
        self.button.on("click", js_handler=self._unheard())

    def _unheard(self) -> str:
        """What the browser does by itself: it says so if the studio takes no notice of the click."""
        text = self._t(
            "THE STUDIO DOES NOT ANSWER. The e-stop may not have been written. Use the plant's own emergency stop now. "
            "Then try: {command}",
            command=self._command,
        )
        # Quoted as JSON, which JavaScript reads, and shown as text.
        said, seconds = json.dumps(self.said.html_id), int(_SECONDS * 1000)
        return (
            f"() => {{ const presses = () => document.getElementById({said})?.dataset.presses; "
            "const before = presses(); "
            f"setTimeout(() => {{ if (presses() === before) window.alert({json.dumps(text)}); }}, {seconds}); }}"
        )

    async def _press(self) -> None:
        self._pressed_at, self._presses = time.monotonic(), self._presses + 1
        self.said.props["data-presses"] = self._presses
        self._say(self._t("Stopping …"), "#5e000e")
        try:
            estop = await asyncio.wait_for(_in_a_thread_of_its_own(self._act), _SECONDS)
        except Exception as error:  # whatever it is, nobody may think that the plant is stopped
            if isinstance(error, asyncio.TimeoutError):
                error = TimeoutError(self._t("the file could not be written within {n} s", n=_SECONDS))
            self._failed = True
            text = self._t(
                "THE E-STOP WAS NOT WRITTEN: {problem}. Use the plant's own emergency stop now. Then try: {command}",
                problem=str(error) or type(error).__name__,
                command=self._command,
            )
            self._say(text, "#b3001b")
            ui.notify(text, type="negative", multi_line=True, close_button=self._t("Close"), timeout=0)
            return
        self._pressed_at, self._failed = time.monotonic(), False
        self._in_force(estop)

    def show(self, estop: str, looked_at: float) -> None:
        """What a look at the plant that began then [s, monotonic] has found; older than a press, it is no news."""
        if looked_at < self._pressed_at:
            return
        if estop:
            self._failed = False
            self._in_force(estop)
        elif not self._failed:
            self._say("", "transparent")

    def _in_force(self, estop: str) -> None:
        self._say(self._t("E-stop in force: {why}.", why=estop), "#b3001b")

    def _say(self, text: str, colour: str) -> None:
        self.said.text = text
        self.said.style(f"background:{colour};color:#fff;border-radius:6px;padding:{'.6rem' if text else '0'}")


def _in_a_thread_of_its_own(act: Callable[[], str]) -> asyncio.Future[str]:
    """The threads that all pages share may all be waiting for something that hangs."""
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[str] = loop.create_future()

    def settle(value: str, error: BaseException | None) -> None:
        if not outcome.done():  # else nobody waits any more
            outcome.set_result(value) if error is None else outcome.set_exception(error)

    def work() -> None:
        value, failure = "", None
        try:
            value = act()
        except BaseException as error:
            failure = error
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, value, failure)

    try:
        threading.Thread(target=work, name="e-stop", daemon=True).start()
    except RuntimeError:  # there can be no more threads: then the page has to wait
        work()
    return outcome
