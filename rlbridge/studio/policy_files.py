"""What can be made of a policy, and taken along: its pictures before and after, and the file for use without torch."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

from nicegui import ui

from rlbridge.runs.folder import RunFolder
from rlbridge.studio.files import version
from rlbridge.studio.policies import FILE
from rlbridge.studio.shell import REFUSALS, heading, tell
from rlbridge.studio.words import Words
from rlbridge.studio.workshop import Workshop, ask

_FILM = "now.gif"
_FILM_SECONDS = 300.0
_EXPORT_SECONDS = 120.0


class PolicyFiles:
    """Two cards: moving pictures, and policy files.

    Args:
        workshop: whose runs they are.
        t: the words.
        chosen: gives the names of the run and of the policy that are chosen.
        what: gives what ``rlbridge evaluate`` is given for it, or None where that is refused (and said).
    """

    def __init__(
        self,
        workshop: Workshop,
        t: Words,
        chosen: Callable[[], tuple[str, str]],
        what: Callable[[], Awaitable[list[str] | None]],
    ) -> None:
        self._workshop, self._t = workshop, t
        self._chosen, self._what = chosen, what
        with _card(t("An episode before and after training")):
            self._films = ui.row().classes("full-width items-start").mark("films")
            with ui.row().classes("q-mt-sm").style("align-items:center"):
                self._film = ui.button(t("Film the chosen policy"), icon="movie", on_click=self._make_film)
                self._film.mark("film").props("data-testid=film")
        with _card(t("Policy file, for use without torch")):
            self._told = ui.label().mark("policy-file")
            with ui.row().classes("q-mt-sm").style("align-items:center"):
                self._export = ui.button(t("Export the chosen policy"), icon="save_alt", on_click=self._make_file)
                self._export.mark("export").props("data-testid=export")
                self._downloads = ui.row().mark("downloads")

    async def show(self) -> None:
        """What the chosen run has of them now."""
        name, t = self._chosen()[0], self._t
        try:
            folder = self._workshop.runs.open(name)
            films, told = await asyncio.to_thread(_look, folder)
        except REFUSALS:
            return
        words = {"before.gif": t("before"), "after.gif": t("after"), "now.gif": t("the policy filmed last")}
        self._films.clear()
        with self._films:
            for file, changed in films.items():
                with ui.element("figure").style("margin:0;max-width:100%"):
                    picture = (
                        ui.element("img")
                        .style("max-width:100%;border:1px solid #d7dce3")
                        .mark(f"film-{file.partition('.')[0]}")
                    )
                    alt = t("One episode of {run}: {which}", run=name, which=words[file])
                    picture.props(f'src="/files/{name}/{file}?{changed}" alt="{alt}"')
                    with ui.element("figcaption").classes("studio-quiet"):
                        ui.label(words[file])
            if not films:
                ui.label(t("None yet. A run leaves both with the setting evaluation.gif.")).classes("studio-quiet")
        self._told.set_text(told or t("There is none yet."))
        self._downloads.clear()
        with self._downloads:
            for file in ("policy.onnx", "policy.json") if told else ():
                link = ui.link(t("Download {file}", file=file), f"/files/{name}/{file}")
                link.props(f"download data-testid=download-{file.replace('.', '-')}").mark(f"download-{file}")

    async def _make_film(self) -> None:
        name, what = self._chosen()[0], await self._what()
        if what is not None:
            film = str(self._workshop.runs.path(name) / _FILM)
            arguments = ["evaluate", *what, "--episodes=1", f"--gif={film}"]
            await self._make(self._film, arguments, _FILM_SECONDS, self._t("filmed"))

    async def _make_file(self) -> None:
        name, policy = self._chosen()
        if name and policy and policy != FILE:
            folder = RunFolder(self._workshop.runs.path(name))
            arguments = ["export", str(folder.path), str(folder.policy), "--checkpoint", policy]
            await self._make(self._export, arguments, _EXPORT_SECONDS, self._t("exported"))

    async def _make(self, button: ui.button, arguments: list[str], seconds: float, done: str) -> None:
        button.props("loading").disable()
        code, _, errors = await asyncio.get_running_loop().run_in_executor(self._workshop.slow, ask, arguments, seconds)
        if button.client.is_deleted:  # the page has been closed meanwhile
            return
        button.props(remove="loading").enable()
        if code:
            said = errors.rpartition("rlbridge: ")[2].strip()[-2_000:] or self._t(
                "It ended with code {code}", code=code
            )
            tell(said, type="negative", multi_line=True, close_button=self._t("Close"), timeout=0)
        else:
            tell(done, type="positive")
        await self.show()


def _card(title: str) -> ui.element:
    card = ui.element("section").classes("studio-card q-mt-md")
    with card:
        heading(title)
    return card


def _look(folder: RunFolder) -> tuple[dict[str, str], str]:
    """The pictures there are, by name, with their versions; what the policy file is of, empty where there is none."""
    films = {path.name: version(path) for path in (folder.before, folder.after, folder.path / _FILM)}
    return {name: changed for name, changed in films.items() if changed}, _told_of(folder.policy)


def _told_of(policy: Path) -> str:
    try:
        told = json.loads(policy.with_suffix(".json").read_text(encoding="utf-8"))
        there = policy.is_file()
        return f"{policy.name}: {told['kind']}, {told['algorithm']} after {told['steps']:,} steps" if there else ""
    except (OSError, ValueError, KeyError, TypeError):
        return ""
