"""A new run: its environment, looked at first; its algorithm and settings; and the start."""

from __future__ import annotations

from typing import Any

from fastapi import Request
from nicegui import ui

from rlbridge.config import ALGORITHMS, ConfigError, EnvConfig, RunConfig
from rlbridge.runs.folder import RunFolderError
from rlbridge.studio.environment_part import EnvironmentPart
from rlbridge.studio.form import Tree
from rlbridge.studio.probe import Facts
from rlbridge.studio.refusals import refusal
from rlbridge.studio.settings_form import SettingsForm
from rlbridge.studio.shell import done, frame, heading, say_refusal, tell
from rlbridge.studio.words import Words
from rlbridge.studio.workshop import TargetRefused, Workshop


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
            say_refusal(t, error)
    if target:
        config = config.model_copy(update={"env": EnvConfig(target=target, num_envs=config.env.num_envs)})
    return config


class _NewRun:
    def __init__(self, workshop: Workshop, t: Words, config: RunConfig) -> None:
        self._workshop, self._t, self._begin = workshop, t, config

    def build(self) -> None:
        self._form = SettingsForm(self._t, self._begin, self._follow)
        self._environment = EnvironmentPart(
            self._workshop, self._t, self._begin.env.target, self._set_target, self._offer
        )
        self._environment.build()
        with ui.element("section").classes("studio-card q-my-md"):
            self._build_start()
        self._form.build()

    def _build_start(self) -> None:
        t = self._t
        heading(t("Algorithm"))
        with ui.row().classes("items-start full-width"):
            self._algorithm = ui.select(
                {name: name.upper() for name in ALGORITHMS},
                value=self._begin.algorithm.name,
                label=t("Algorithm"),
                on_change=self._take_algorithm,
            ).style("min-width:12rem")
            self._algorithm.without_auto_validation().mark("algorithm")
            self._algorithm.props('outlined dense data-testid="algorithm"')
            ui.space()
            self._trouble = ui.label().classes("text-negative").props('role="alert"').mark("trouble")
            self._start_button = ui.button(t("Start"), icon="play_arrow", on_click=self._start).mark("start")

    # ------------------------------------------------------------------------------------------------------- following

    def _set_target(self, target: str) -> None:
        self._algorithm.set_options({name: name.upper() for name in ALGORITHMS})  # until another probe
        if self._form.tree["env"]["target"] != target:
            self._form.set("env.target", target)

    def _follow(self, tree: Tree) -> None:
        """The settings have changed: what stands outside the form follows."""
        self._environment.set_target(tree["env"]["target"])
        if self._algorithm.value != tree["algorithm"]["name"]:
            self._algorithm.value = tree["algorithm"]["name"]
        self._algorithm.error = None
        n = sum(len(found) for found in self._form.problems.values())
        whole = self._form.problems.get("", []) + self._form.problems.get("env.target", [])
        said = " ".join(refusal(self._t, text) for text in whole)
        self._trouble.text = said or (self._t("Wrong settings: {n}", n=n) if n else "")
        self._start_button.set_enabled(not n)

    def _take_algorithm(self, event: Any) -> None:
        if event.value is not None:  # none of those that fit has been chosen yet
            self._form.set_algorithm(event.value)

    def _offer(self, facts: Facts) -> None:
        """Leave the algorithms that can drive the actions."""
        self._algorithm.set_options({name: name.upper() for name in facts.algorithms})
        if facts.algorithms and self._form.algorithm not in facts.algorithms:
            self._algorithm.value = facts.algorithms[0]
            tell(self._t("{name} fits the actions", name=facts.algorithms[0].upper()))
        if facts.shared:
            self._form.set("env.num_envs", 1)
            self._form.set("evaluation.every", 0)
            tell(self._t("There is one of it for everybody: one environment, and no evaluation beside the training."))
        if facts.max_envs is not None and self._form.tree["env"]["num_envs"] > facts.max_envs:
            self._form.set("env.num_envs", facts.max_envs)

    async def _start(self) -> None:
        t = self._t
        try:
            self._workshop.require_target(str(self._form.tree["env"]["target"]))
            config = self._form.config()
            self._workshop.require_harmless(config)
        except TargetRefused as error:
            self._environment.refuse(error)
            return
        except ConfigError as error:
            self._trouble.text = refusal(t, error)
            return
        self._start_button.props("loading").disable()  # a second click would start a second run
        try:
            there = await self._environment.probe()
        finally:
            self._start_button.props(remove="loading").enable()
        facts = self._environment.facts
        if not there or facts is None:
            return
        if facts.shared and (config.env.num_envs > 1 or config.evaluation.every):
            self._trouble.text = t("There is one of it for everybody: set num_envs to 1 and evaluation.every to 0.")
            return
        if config.algorithm.name not in facts.algorithms:
            self._algorithm.error = t("{name} cannot drive these actions", name=config.algorithm.name.upper())
            return
        name = config.run.name or self._workshop.runs.free_name(config, facts.name)
        config = config.model_copy(update={"run": config.run.model_copy(update={"name": name})})
        self._start_button.disable()
        started = await done(t, self._workshop.runs.start, config)
        self._start_button.enable()
        if started:
            ui.navigate.to(f"/run/{name}")
