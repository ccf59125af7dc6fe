"""All runs: a table to search and sort, their curves side by side, and what can be done with each."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import Request
from nicegui import ui

from rlbridge.runs.folder import RunFolderError
from rlbridge.runs.standing import Standing
from rlbridge.studio.charts import COLOURS, LineChart
from rlbridge.studio.curves import series
from rlbridge.studio.shell import confirmed, done, frame
from rlbridge.studio.words import Words
from rlbridge.studio.workshop import Workshop

_SECONDS = 2.0
_COMPARED = len(COLOURS)


def add_to(workshop: Workshop) -> None:
    """The page at ``/``."""

    @ui.page("/")
    async def runs_page(request: Request) -> None:
        with frame(request, "Runs") as t:
            await _RunsTable(workshop, t).build()


class _RunsTable:
    def __init__(self, workshop: Workshop, t: Words) -> None:
        self._workshop, self._t = workshop, t

    async def build(self) -> None:
        t = self._t
        with ui.row().classes("studio-line full-width q-mb-sm"):
            search = ui.input(t("Search")).props('clearable dense outlined type="search"').mark("search")
            ui.space()
            ui.button(t("New run"), icon="add", on_click=lambda: ui.navigate.to("/new")).mark("new-run")
        columns = [
            _column("name", t("Name")),
            _column("status", t("Status")),
            _column("algorithm", t("Algorithm")),
            _column("target", t("Environment")),
            _column("steps", t("Transitions"), numeric=True),
            _column("return", t("Return"), numeric=True),
            _column("best", t("Best evaluation"), numeric=True),
            _column("updated", t("Changed"), numeric=True),
            _column("size", t("Disk"), numeric=True),
        ]
        columns[-2][":format"] = "value => value ? new Date(value * 1000).toLocaleString() : '-'"
        columns[-1][":format"] = "value => (value / 1048576).toFixed(1) + ' MiB'"
        self.table = ui.table(
            columns=columns,
            rows=await asyncio.to_thread(self._rows),
            row_key="name",
            selection="multiple",
            pagination={"rowsPerPage": 20, "sortBy": "updated", "descending": True},
            on_select=self._compare,
        ).classes("full-width")
        self.table.bind_filter_from(search, "value")
        self.table.props(f'grid-header no-data-label="{t("No run yet: make a new one.")}"')
        self.table.add_slot(
            "body-cell-name",
            """<q-td :props="props">
            <a :href="'/run/' + encodeURIComponent(props.value)">{{ props.value }}</a></q-td>""",
        )
        # Without a name of its own a tick box says only that it is one.
        box = """<q-checkbox v-model="props.selected" :aria-label="%s" />"""
        self.table.add_slot("body-selection", box % f"'{t('Select')} ' + props.row.name")
        self.table.add_slot("header-selection", box % f"'{t('Select all')}'")
        with ui.row().classes("q-my-sm studio-line").props(f'role="toolbar" aria-label="{t("Selected runs")}"'):
            self._buttons = [
                ui.button(t("Clone"), icon="content_copy", on_click=self._clone).mark("clone"),
                ui.button(t("Rename"), icon="edit", on_click=self._rename).mark("rename"),
                ui.button(t("Delete"), icon="delete", color="negative", on_click=self._delete).mark("delete"),
            ]
            ui.label(t("Tick runs to compare their curves, or to clone, rename or delete them.")).classes(
                "studio-quiet"
            )
        with ui.element("section").classes("studio-card") as self._comparison:
            self._chart = LineChart(t, t("Return of the selected runs over transitions"))
        self._comparison.set_visibility(False)
        self._enable()
        ui.timer(_SECONDS, self._refresh)

    def _rows(self) -> list[dict[str, Any]]:
        rows = []
        for name in self._workshop.runs.names():
            try:
                rows.append(_row(self._t, self._workshop.runs.standing(name), self._size(name)))
            except (RunFolderError, ValueError):  # deleted meanwhile, or a folder that somebody has edited
                continue
        return rows

    def _size(self, name: str) -> int:
        return self._workshop.sizes.read(name, lambda: self._workshop.runs.disk_use(name))

    async def _refresh(self) -> None:
        rows = await asyncio.to_thread(self._rows)
        if rows != self.table.rows:
            self.table.rows = rows
        if self.table.selected:
            await self._compare()

    @property
    def _selected(self) -> list[str]:
        return [row["name"] for row in self.table.selected]

    def _enable(self) -> None:
        chosen = len(self._selected)
        for button, enabled in zip(self._buttons, (chosen == 1, chosen == 1, chosen > 0), strict=True):
            button.set_enabled(enabled)

    async def _compare(self) -> None:
        self._enable()
        names = self._selected[:_COMPARED]
        self._comparison.set_visibility(bool(names))
        lines = {}
        for name in names:
            file = self._workshop.runs.path(name) / "metrics.jsonl"
            rows = await asyncio.to_thread(self._workshop.curves.read, file)
            lines[name] = series(rows, "rollout/ep_rew_mean")
        self._chart.show(lines)

    def _clone(self) -> None:
        if self._selected:
            ui.navigate.to(f"/new?like={self._selected[0]}")

    async def _rename(self) -> None:
        t, name = self._t, self._selected[0]
        with ui.dialog() as dialog, ui.card():
            ui.label(t("Rename {name}", name=name))
            field = ui.input(t("New name"), value=name).props("autofocus").mark("new-name")
            with ui.row():
                ui.button(t("Cancel"), on_click=lambda: dialog.submit(None)).props("flat")
                ui.button(t("Rename"), on_click=lambda: dialog.submit(field.value)).mark("rename-now")
        new = await dialog
        dialog.delete()
        if new and new != name and await done(t, self._workshop.runs.rename, name, str(new).strip()):
            self.table.selected = []
            await self._refresh()
            self._enable()

    async def _delete(self) -> None:
        t, names = self._t, self._selected
        question = t(
            "Delete {names}? Everything in the folder goes: checkpoints, policy, curves.", names=", ".join(names)
        )
        if not await confirmed(t, question, t("Delete")):
            return
        for name in names:
            await done(t, self._workshop.runs.delete, name)
        self.table.selected = []
        await self._refresh()
        await self._compare()


def _column(name: str, label: str, numeric: bool = False) -> dict[str, Any]:
    return {"name": name, "label": label, "field": name, "sortable": True, "align": "right" if numeric else "left"}


def _row(t: Words, now: Standing, size: int) -> dict[str, Any]:
    mean = now.metrics.get("rollout/ep_rew_mean")
    return {
        "name": now.name,
        "status": t(now.status),
        "algorithm": now.algorithm,
        "target": now.target,
        "steps": now.steps,
        "return": None if mean is None else round(mean, 2),
        "best": None if now.best is None else round(now.best, 2),
        "updated": now.updated,
        "size": size,
    }
