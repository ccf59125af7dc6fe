"""A new run: its environment, looked at first; its algorithm and settings; and the start."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import Request
from nicegui import ui

from rlbridge.config import ALGORITHMS, ConfigError, EnvConfig, RunConfig
from rlbridge.runs.folder import RunFolderError
from rlbridge.studio.form import Tree
from rlbridge.studio.probe import Facts, ProbeFailed, lines_of, probe
from rlbridge.studio.settings_form import SettingsForm
from rlbridge.studio.shell import REFUSALS, done, frame, heading
from rlbridge.studio.words import Words
from rlbridge.studio.workshop import TargetRefused, Workshop

_SERVER_SECONDS = 60.0


def add_to(workshop: Workshop) -> None:
    """The page at ``/new``; ``?like=RUN`` begins with that run's settings, ``?target=TARGET`` with that environment."""

    @ui.page("/new")
    async def new_page(request: Request, like: str = "", target: str = "") -> None:
        with frame(request, "New run") as t:
            _NewRun(workshop, t, _begin_with(workshop, t, like, target)).build()


def _begin_with(workshop: Workshop, t: Words, like: str, target: str) -> RunConfig:
    config = RunConfig()
    if like:
        try:
            config = workshop.runs.config(like)
            config = config.model_copy(update={"run": config.run.model_copy(update={"name": None, "overwrite": False})})
        except (RunFolderError, ConfigError) as error:
            ui.notify(str(error), type="negative", timeout=0, close_button=t("Close"))
    if target:
        config = config.model_copy(update={"env": EnvConfig(target=target, num_envs=config.env.num_envs)})
    return config


class _NewRun:
    def __init__(self, workshop: Workshop, t: Words, config: RunConfig) -> None:
        self._workshop, self._t, self._begin = workshop, t, config
        self._facts: Facts | None = None
        self._probed = ""

    def build(self) -> None:
        self._build_environment()
        self._form = SettingsForm(self._t, self._begin, self._follow)
        with ui.element("section").classes("studio-card q-my-md"):
            self._build_start()
        self._form.build()

    def _build_environment(self) -> None:
        t = self._t
        with ui.element("section").classes("studio-card"):
            heading(t("Environment"))
            with ui.row().classes("items-start full-width"):
                self._target = ui.input(
                    t("Gymnasium id, or a server such as grpc://host:50051"),
                    value=self._begin.env.target,
                    autocomplete=self._workshop.local_targets(),
                    on_change=self._target_changed,
                ).classes("studio-wide")
                self._target.without_auto_validation().mark("target")
                self._target.props('outlined dense debounce=200 data-testid="target"')
                self._target.on("keydown.enter", self._probe)
                self._probe_button = ui.button(t("Probe"), icon="search", on_click=self._probe).mark("probe")
            if self._workshop.servers.catalog:
                with ui.row().classes("items-center full-width q-mt-sm"):
                    self._folder = ui.select(
                        list(self._workshop.servers.catalog), label=t("Or serve a simulator of this machine")
                    ).classes("studio-wide")
                    self._folder.without_auto_validation().mark("folder")
                    self._folder.props('outlined dense data-testid="folder"')
                    self._serve_button = ui.button(t("Serve and use it"), on_click=self._serve).props("outline")
                    self._serve_button.mark("serve")
            self._found = ui.element("div").classes("q-mt-sm").props('role="status" aria-live="polite"')

    def _build_start(self) -> None:
        t = self._t
        heading(t("Algorithm"))
        with ui.row().classes("items-center full-width"):
            self._algorithm = ui.select(
                {name: name.upper() for name in ALGORITHMS},
                value=self._begin.algorithm.name,
                label=t("Algorithm"),
                on_change=lambda event: self._form.set_algorithm(event.value),
            ).style("min-width:12rem")
            self._algorithm.without_auto_validation().mark("algorithm")
            self._algorithm.props('outlined dense data-testid="algorithm"')
            ui.space()
            self._trouble = ui.label().classes("text-negative").props('role="alert"').mark("trouble")
            self._start_button = ui.button(t("Start"), icon="play_arrow", on_click=self._start).mark("start")

    # ------------------------------------------------------------------------------------------------------- following

    def _target_changed(self, event: Any) -> None:
        self._target.error = None
        if hasattr(self, "_form") and self._form.tree["env"]["target"] != event.value:
            self._form.set("env.target", event.value)

    def _follow(self, tree: Tree) -> None:
        """The settings have changed: what stands outside the form follows."""
        if self._target.value != tree["env"]["target"]:
            self._target.value = tree["env"]["target"]
        if self._algorithm.value != tree["algorithm"]["name"]:
            self._algorithm.value = tree["algorithm"]["name"]
        self._algorithm.error = None
        n = sum(len(found) for found in self._form.problems.values())
        whole = self._form.problems.get("", []) + self._form.problems.get("env.target", [])
        self._trouble.text = " ".join(whole) or (self._t("Wrong settings: {n}", n=n) if n else "")
        self._start_button.set_enabled(not n)

    async def _probe(self) -> bool:
        """Look at the environment; whether there is one."""
        t, typed = self._t, str(self._target.value or "")
        self._probe_button.props("loading")
        self._found.clear()
        try:
            target = self._workshop.require_target(typed)
            facts = await asyncio.to_thread(probe, target)
        except (TargetRefused, ProbeFailed) as error:
            self._target.error = str(error)
            return False
        finally:
            self._probe_button.props(remove="loading")
        self._facts, self._probed = facts, target
        self._show(facts)
        self._algorithm.set_options({name: name.upper() for name in facts.algorithms})
        if facts.algorithms and self._form.algorithm not in facts.algorithms:
            self._algorithm.value = facts.algorithms[0]
            ui.notify(t("{name} fits the actions", name=facts.algorithms[0].upper()))
        return True

    def _show(self, facts: Facts) -> None:
        t = self._t
        with self._found:
            if not facts.algorithms:
                ui.label(t("No algorithm here drives these actions: {space}", space=facts.action_space)).classes(
                    "text-negative"
                )
            with ui.element("dl").classes("studio-facts"):
                for name, value in lines_of(facts.told):
                    with ui.element("dt"):
                        ui.label(t(name))
                    with ui.element("dd"):
                        ui.label(value)

    async def _serve(self) -> None:
        """Start a server of one of this machine's simulators, and take it as the environment."""
        t, name = self._t, self._folder.value
        if not name:
            self._folder.error = t("Choose one first.")
            return
        self._serve_button.props("loading")
        try:
            server = await asyncio.to_thread(self._workshop.servers.ready, str(name), _SERVER_SECONDS)
        except REFUSALS as error:
            self._folder.error = str(error)
            return
        finally:
            self._serve_button.props(remove="loading")
        self._folder.error = None
        self._target.value = server.urls[0]
        await self._probe()

    async def _start(self) -> None:
        t = self._t
        try:
            self._workshop.require_target(str(self._form.tree["env"]["target"]))
            config = self._form.config()
            self._workshop.require_harmless(config)
        except TargetRefused as error:
            self._target.error = str(error)
            return
        except ConfigError as error:
            self._trouble.text = str(error)
            return
        facts = self._facts if self._probed == config.env.target else None
        if facts and config.algorithm.name not in facts.algorithms:
            self._algorithm.error = t("{name} cannot drive these actions", name=config.algorithm.name.upper())
            return
        name = config.run.name or self._workshop.runs.free_name(config, facts.name if facts else "")
        config = config.model_copy(update={"run": config.run.model_copy(update={"name": name})})
        if await done(t, self._workshop.runs.start, config):
            ui.navigate.to(f"/run/{name}")
