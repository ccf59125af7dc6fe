"""The form of a run's settings and its YAML, which follow each other."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from nicegui import ui

from rlbridge.config import ALGORITHMS, ConfigError, RunConfig, dump_config, load_config, parse_config
from rlbridge.studio.form import Field, Tree, fields_of, problems_of, require_plain
from rlbridge.studio.refusals import refusal
from rlbridge.studio.shell import heading
from rlbridge.studio.words import Words

_BASIC = frozenset(
    (
        *("env.num_envs", "algorithm.total_steps", "algorithm.learning_rate", "algorithm.gamma"),
        *("network.hidden", "network.activation", "evaluation.every", "run.name", "run.seed"),
    )
)
_ELSEWHERE = frozenset(("env.target",))
_TITLES = {
    "env": "Environments",
    "algorithm": "Algorithm's settings",
    "network": "Networks",
    "evaluation": "Evaluation while training",
    "checkpoint": "Checkpoints",
    "run": "Run",
}


class SettingsForm:
    """Every setting with its default, help and limits; what is wrong stands beside it.

    Args:
        t: the words.
        config: what it begins with.
        on_change: called after every change, with the tree as it is.

    Attributes:
        tree: the settings as nested mappings, valid or not.
        problems: what is wrong, by field; "" is the whole. While the YAML is wrong, only that is.
    """

    def __init__(self, t: Words, config: RunConfig, on_change: Callable[[Tree], object]) -> None:
        self._t, self._on_change = t, on_change
        self.tree: Tree = config.model_dump(mode="json")
        self.problems: dict[str, list[str]] = {}
        self._fields: dict[str, Field] = {}
        self._inputs: dict[str, Any] = {}
        self._following = False

    def build(self) -> None:
        """The settings, and beside them (below, on a narrow page) the YAML."""
        with ui.element("div").classes("studio-columns"):
            self._sections = ui.element("div").classes("studio-card")
            with ui.element("section").classes("studio-card"):
                self._build_yaml()
        self._build_sections()
        self._changed()

    @property
    def algorithm(self) -> str:
        return str(self.tree["algorithm"]["name"])

    def set_algorithm(self, name: str) -> None:
        """Take another algorithm, with its defaults; what both know stays."""
        kept = {k: v for k, v in self.tree["algorithm"].items() if k in ("total_steps", "gamma")}
        if name != self.algorithm:
            self._load({**self.tree, "algorithm": {**ALGORITHMS[name]().model_dump(mode="json"), **kept}})

    def set(self, path: str, value: Any) -> None:
        """Set one setting."""
        section, _, key = path.partition(".")
        self.tree[section][key] = value
        if path in self._inputs:
            self._following, was = True, self._following
            if self._fields[path].meant(self._inputs[path].value) != value:
                self._inputs[path].value = self._fields[path].shown(value)
            self._following = was
        self._changed()

    def config(self) -> RunConfig:
        """The run. Raises ConfigError while something is wrong."""
        return load_config(self.tree)

    # -------------------------------------------------------------------------------------------------------- building

    def _build_sections(self) -> None:
        t, sections = self._t, fields_of(self.algorithm)
        self._fields = {field.path: field for fields in sections.values() for field in fields}
        self._inputs = {}
        self._sections.clear()
        with self._sections:
            heading(t("Settings"))
            with ui.element("div").classes("studio-fields"):
                for path in sorted(_BASIC, key=list(self._fields).index):
                    self._build_field(self._fields[path])
            for section, fields in sections.items():
                rest = [field for field in fields if field.path not in _BASIC | _ELSEWHERE]
                title = t("More: {section}", section=t(_TITLES[section]))
                with ui.expansion(title).classes("full-width") as opened, ui.element("div").classes("studio-fields"):
                    opened.mark(f"more-{section}")
                    for field in rest:
                        self._build_field(field)

    def _build_field(self, field: Field) -> None:
        value = field.shown(self._value(field.path))
        label = field.name if field.path.startswith(("env.", "algorithm.")) else field.path
        if field.limits:
            label += f"  ({field.limits})"

        def change(event: Any) -> None:
            if not self._following:
                self.set(field.path, field.meant(event.value))

        element: Any
        if field.kind == "truth":
            with ui.element("div"):
                element = ui.switch(label, value=value, on_change=change)
                ui.label(self._t(field.help)).classes("studio-hint")
        elif field.kind == "choice":
            element = ui.select(
                list(field.choices), value=value, label=label, on_change=change, clearable=field.optional
            )
        else:
            mode = {"whole": "numeric", "number": "decimal"}.get(field.kind, "text")
            shown = "" if field.default in (None, {}) else field.shown(field.default)
            element = ui.input(label, value=value, placeholder=str(shown), on_change=change)
            element.props(f'inputmode={mode} debounce=300 autocomplete="off"')
        if field.kind != "truth":
            element.without_auto_validation().props("outlined dense")
            element.props["hint"] = self._t(field.help)
        element.mark(field.path).props(f'data-testid="{field.path}"')
        self._inputs[field.path] = element

    def _build_yaml(self) -> None:
        t = self._t
        heading(t("Run file"))
        ui.label(t("The same run as YAML. Edit either side; `rlbridge train FILE` takes it.")).classes("studio-quiet")
        self._yaml = ui.textarea(label="YAML", on_change=self._read_yaml).classes("full-width studio-mono")
        self._yaml.without_auto_validation()
        self._yaml.props('outlined autogrow debounce=600 spellcheck=false data-testid="yaml"').mark("yaml")
        ui.button(t("Download"), icon="download", on_click=self._download).props("flat").mark("download")

    # ------------------------------------------------------------------------------------------------------- following

    def _value(self, path: str) -> Any:
        section, _, key = path.partition(".")
        return self.tree[section].get(key)

    def _changed(self) -> None:
        self.problems = problems_of(self.tree, set(self._fields))
        for path, element in self._inputs.items():
            if self._fields[path].kind != "truth":
                element.error = "\n".join(refusal(self._t, text) for text in self.problems.get(path, [])) or None
        if not self.problems:
            self._show_yaml(dump_config(self.config()))
        self._on_change(self.tree)

    def _show_yaml(self, text: str) -> None:
        self._following = True
        self._yaml.value, self._yaml.error = text, None
        self._following = False

    def _read_yaml(self, event: Any) -> None:
        if self._following:
            return
        try:
            require_plain(event.value or "")
            config = parse_config(event.value or "", self._t("the run file"))
        except (ConfigError, ValueError, RecursionError) as error:
            self._yaml.error = refusal(self._t, error)
            self.problems = {"": [self._t("The run file is wrong.")]}
            self._on_change(self.tree)
            return
        self._yaml.error = None
        self._load(config.model_dump(mode="json"), typed=event.value)

    def _load(self, tree: Tree, typed: str | None = None) -> None:
        """Show another tree. ``typed``: the YAML that it came from, which is left as it was typed."""
        other = tree["algorithm"]["name"] != self.algorithm
        self.tree = copy.deepcopy(tree)
        if other:
            self._build_sections()
        self._following = True
        try:
            for path, element in self._inputs.items():
                element.value = self._fields[path].shown(self._value(path))
        finally:
            self._following = False
        self._changed()
        if typed is not None:
            self._show_yaml(typed)

    def _download(self) -> None:
        ui.download.content(self._yaml.value or "", f"{self.tree['run'].get('name') or 'run'}.yaml", "text/yaml")
