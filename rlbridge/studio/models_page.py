"""What runs have learned: played here or elsewhere, filmed, exported, taken along."""

from __future__ import annotations

import asyncio

from fastapi import Request
from nicegui import ui

from rlbridge.studio.player import stream_arguments
from rlbridge.studio.player_view import FRAMES, PlayerView
from rlbridge.studio.policies import FILE, evaluate_arguments, policies_of, runs_with_policies
from rlbridge.studio.policy_files import PolicyFiles
from rlbridge.studio.shell import REFUSALS, frame
from rlbridge.studio.words import Words
from rlbridge.studio.workshop import TargetRefused, Workshop

_MOST_EPISODES = 100_000


def add_to(workshop: Workshop) -> None:
    """The page at ``/models``; ``?run=NAME`` chooses a run."""

    @ui.page("/models")
    async def models_page(request: Request, run: str = "") -> None:
        with frame(request, "Models") as t:
            await _Models(workshop, t).build(run)


class _Models:
    def __init__(self, workshop: Workshop, t: Words) -> None:
        self._workshop, self._t = workshop, t

    async def build(self, wanted: str) -> None:
        t = self._t
        self._policies = await asyncio.to_thread(runs_with_policies, self._workshop.runs)
        if not self._policies:
            with ui.element("section").classes("studio-card"):
                ui.label(t("No run has a policy yet. Its first comes with its first checkpoint."))
                ui.link(t("New run"), "/new")
            return
        with ui.element("section").classes("studio-card").props(f'aria-label="{t("What to play")}"') as play:
            self._choices(wanted if wanted in self._policies else next(iter(self._policies)))
        self._files = PolicyFiles(self._workshop, t, self._chosen, self._what)
        await self._take_run()
        with play:  # nothing is awaited after it: its timer sends the page, whole or not
            PlayerView(t, self._arguments, t("Play"))

    def _choices(self, first: str) -> None:
        t = self._t
        with ui.row().classes("full-width"):
            self._run = ui.select(
                list(self._policies), label=t("Run"), value=first, with_input=True, on_change=self._take_run
            )
            self._policy = ui.select([], label=t("Policy"))
            hint = t("Empty: where it was trained. Or a Gymnasium id, or a server: grpc://host:port")
            self._target = ui.input(
                t("Environment"),
                placeholder=t("the run's own"),
                autocomplete=[*self._server_urls(), *self._workshop.local_targets()],
                on_change=self._forgive,
            ).props(f'hint="{hint}" stack-label')
            self._episodes = ui.number(t("Episodes"), value=10, min=1, max=_MOST_EPISODES, precision=0)
        for field, name in (
            (self._run, "run"),
            (self._policy, "policy"),
            (self._target, "target"),
            (self._episodes, "episodes-wanted"),
        ):
            field.mark(name).props(f"outlined dense data-testid={name}").style("flex:1 1 12rem;min-width:9rem")
        with ui.row().classes("items-center q-mt-md"):
            self._endless = ui.checkbox(t("Until stopped")).mark("endless").props("data-testid=endless")
            self._pictures = ui.checkbox(t("Pictures, at the environment's own speed"), value=True)
            self._pictures.mark("pictures").props("data-testid=pictures")
        self._episodes.bind_enabled_from(self._endless, "value", lambda endless: not endless)

    def _server_urls(self) -> list[str]:
        return [url for server in self._workshop.servers.all() if server.alive for url in server.urls]

    async def _take_run(self) -> None:
        name = self._run.value
        if name is None:
            return
        try:
            policies = await asyncio.to_thread(policies_of, self._workshop.runs.open(name))
        except REFUSALS:  # deleted since the page was opened
            policies = []
        names = {"last": self._t("last"), "best": self._t("best")}
        options = {
            which: names.get(which, self._t("step {n}", n=which) if which != FILE else which) for which in policies
        }
        now = self._policy.value
        self._policy.set_options(options, value=now if now in options else next(iter(options), None))
        await self._files.show()

    def _forgive(self) -> None:
        self._target.error = None

    def _chosen(self) -> tuple[str, str]:
        """The run's name and the policy's; both empty where nothing is chosen."""
        return self._run.value or "", self._policy.value or ""

    async def _what(self) -> list[str] | None:
        """What ``rlbridge evaluate`` is given; None where it cannot be, which the field that is wrong says then."""
        (name, policy), typed = self._chosen(), (self._target.value or "").strip()
        if not name or not policy:
            return None
        self._run.error = None
        try:
            target = self._workshop.require_target(typed) if typed else None
            if target is None:
                await asyncio.to_thread(self._workshop.require_run, name)
            return await asyncio.to_thread(evaluate_arguments, self._workshop.runs, name, policy, target)
        except TargetRefused as error:
            self._target.error = str(error)
        except REFUSALS as error:
            self._run.error = str(error)
        return None

    async def _arguments(self) -> list[str] | None:
        episodes = None if self._endless.value else self._episodes.value
        if not self._endless.value and not (episodes and 1 <= episodes <= _MOST_EPISODES):
            self._episodes.error = self._t("From 1 to {most}", most=f"{_MOST_EPISODES:,}")
            return None
        self._episodes.error = None
        what = await self._what()
        if what is None:
            return None
        how = stream_arguments(
            episodes=None if episodes is None else int(episodes), frames=FRAMES if self._pictures.value else 0.0
        )
        return [*what, *how]
