"""The frame that every page stands in: its header, its language, and how it says that something went wrong."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fastapi import Request
from nicegui import ui

from rlbridge.config import ConfigError
from rlbridge.runs.folder import RunFolderError
from rlbridge.studio.refusals import refusal
from rlbridge.studio.servers import ServerError
from rlbridge.studio.words import COOKIE, LANGUAGES, Words, preferred, words_of
from rlbridge.studio.workshop import TargetRefused

PAGES = (("/", "Runs"), ("/new", "New run"), ("/models", "Models"), ("/servers", "Servers"))
REFUSALS = (RunFolderError, ConfigError, ServerError, TargetRefused, OSError)

_STYLE = """
body { background: #f6f7f9; color: #1b2430; }
.studio-main { max-width: 1180px; margin: 0 auto; padding: 1rem; width: 100%; }
.studio-card { background: #fff; border: 1px solid #d7dce3; border-radius: 8px; padding: 1rem; width: 100%; }
.studio-nav a { color: #fff; text-decoration: none; padding: .4rem .7rem; border-radius: 6px; }
.studio-nav a:hover, .studio-nav a[aria-current] { background: rgba(255,255,255,.18); }
.studio-quiet { color: #4a5564; }
.studio-mono { overflow-wrap: anywhere; }
.studio-mono, .studio-mono textarea { font-family: ui-monospace, Menlo, Consolas, monospace; font-size: .85rem; }
.studio-columns { display: grid; grid-template-columns: minmax(0, 3fr) minmax(0, 2fr); gap: 1rem; }
@media (max-width: 900px) { .studio-columns { grid-template-columns: minmax(0, 1fr); } }
.studio-fields { display: grid; width: 100%; gap: .9rem 1rem; }
.studio-fields { grid-template-columns: repeat(auto-fill, minmax(min(100%, 250px), 1fr)); }
.studio-main .q-field__bottom { position: static; transform: none; line-height: 1.25; padding-top: 4px; }
.q-field__messages { line-height: 1.35; } .nicegui-row.items-center { align-items: center; }
.studio-fields > .q-btn { align-self: start; }
.studio-main .q-field--with-bottom { padding-bottom: 0; }
.studio-hint { font-size: 12px; color: #4a5564; padding: 0 12px; }
.q-field__bottom { color: #4a5564; } .q-field--error .q-field__bottom { color: #b3261e; }
.studio-h1 { font-size: 1.5rem; line-height: 1.3; font-weight: 600; margin: 0 0 .8rem; overflow-wrap: anywhere; }
.studio-charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 420px), 1fr)); gap: 1rem; }
.studio-log { max-height: 22rem; overflow: auto; margin: 0; font-size: .8rem; }
.studio-h2 { font-size: 1.15rem; line-height: 1.4; font-weight: 600; margin: 0 0 .5rem; }
.studio-h3 { font-size: 1.05rem; line-height: 1.4; font-weight: 600; margin: .3rem 0; overflow-wrap: anywhere; }
.studio-h4 { font-size: .95rem; line-height: 1.4; font-weight: 600; margin: .3rem 0; overflow-wrap: anywhere; }
.studio-line { align-items: center !important; }
.studio-wide { flex: 1 1 260px; min-width: 0; }
.studio-facts { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .15rem 1rem; margin: 0; }
.studio-facts dt { color: #4a5564; } .studio-facts dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 600px) { .studio-facts { grid-template-columns: minmax(0, 1fr); } }
a:focus-visible, button:focus-visible, .q-btn:focus-visible, [tabindex]:focus-visible {
  outline: 3px solid #d1622b !important; outline-offset: 2px; }
.studio-main a { color: #1f5a96; }
.studio-skip { position: absolute; left: -999px; }
.studio-skip:focus { left: 1rem; top: .5rem; z-index: 9999; background: #fff; padding: .5rem; }
"""


def language_of(request: Request) -> str:
    """The language this browser is shown."""
    return preferred(request.cookies.get(COOKIE), request.headers.get("accept-language"))


@contextmanager
def frame(request: Request, title: str, **values: str) -> Iterator[Words]:
    """A page: header, navigation, heading, and the place for its contents. Gives the words to say them in."""
    language = language_of(request)
    t = words_of(language)
    said = t(title, **values)
    # NiceGUI has one language a page; we have one a browser. It is that of its own texts, Quasar's, and <html lang>.
    client = ui.context.client
    client.page = copy.copy(client.page)
    client.page.language = "zh-CN" if language == "zh" else "en-US"
    ui.page_title(f"{said} · rlbridge studio")
    ui.colors(primary="#1f5a96", positive="#1d7a46", negative="#b3261e", warning="#8a5a00")
    ui.add_css(_STYLE)
    with (
        ui.header().classes("items-center q-py-xs").style("background:#173f68"),
        ui.element("nav").classes("studio-nav row items-center full-width").props(f'aria-label="{t("Pages")}"'),
    ):
        ui.html(f'<a class="studio-skip" href="#content">{t("Skip to the content")}</a>', sanitize=False)
        ui.label("rlbridge").classes("text-bold q-mr-md")
        for path, name in PAGES:
            link = ui.link(t(name), path)
            if request.url.path == path:
                link.props('aria-current="page"')
        ui.space()
        for code, name in LANGUAGES.items():
            if code != language:
                ui.link(name, f"/language/{code}?back={request.url.path}").props(f'lang="{code}" hreflang="{code}"')
    with ui.element("main").classes("studio-main").props('id="content" tabindex="-1"'):
        with ui.element("h1").classes("studio-h1"):
            ui.label(said)
        yield t


def heading(text: str, level: int = 2) -> None:
    """A heading below the page's own."""
    with ui.element(f"h{level}").classes(f"studio-h{level}"):
        ui.label(text)


def say_refusal(t: Words, error: Exception) -> None:
    """Say on the page what was refused, until somebody closes it."""
    close = {"label": t("Close"), "color": "white"}  # Quasar's own is the primary colour, unreadable on red
    tell(refusal(t, error), type="negative", multi_line=True, timeout=0, actions=[close])


async def done(t: Words, act: Callable[..., Any], *arguments: Any, said: str | None = None) -> bool:
    """Do what may take a moment, off the page's own thread; says on the page how it went. Whether it went well."""
    try:
        await asyncio.to_thread(act, *arguments)
    except REFUSALS as error:
        say_refusal(t, error)
        return False
    if said is not None:
        tell(said, type="positive")
    return True


def tell(text: str, **options: Any) -> None:
    """A notification, unless the page has been closed while what it tells of was done."""
    try:
        ui.notify(text, **options)
    except RuntimeError as error:
        if "deleted" not in str(error):
            raise


async def confirmed(t: Words, question: str, action: str) -> bool:
    """Ask before something that cannot be undone."""
    with ui.dialog() as dialog, ui.card():
        ui.label(question)
        with ui.row():
            ui.button(t("Cancel"), on_click=lambda: dialog.submit(False)).props("flat autofocus")
            ui.button(action, color="negative", on_click=lambda: dialog.submit(True))
    answer = await dialog
    dialog.delete()
    return bool(answer)
