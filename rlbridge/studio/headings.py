"""Headings within a page."""

from __future__ import annotations

import html

from nicegui import ui

_SIZES = {2: "1.2rem", 3: "1.05rem", 4: ".95rem"}


def heading(text: str, level: int = 2) -> None:
    """A heading below the page's own."""
    style = f"font-size:{_SIZES[level]};line-height:1.4;font-weight:600;margin:.3rem 0;overflow-wrap:anywhere"
    ui.html(f"<h{level} style='{style}'>{html.escape(text)}</h{level}>", sanitize=False)
