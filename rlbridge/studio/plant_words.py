"""How a plant's signals, interlocks, advice and audit are put into words."""

from __future__ import annotations

import json
import time
from typing import Any

from rlbridge.studio.plant_now import Advice, InterlockNow, SignalNow
from rlbridge.studio.words import Words


def columns(t: Words) -> list[dict[str, Any]]:
    """Of the table of signals."""
    names = (
        ("name", t("Signal")),
        ("value", t("Seen")),
        ("limits", t("Limits")),
        ("unit", t("Unit")),
        ("requested", t("Requested")),
        ("decided", t("Applied")),
        ("why", t("Why")),
    )
    return [{"name": key, "label": label, "field": key, "align": "left"} for key, label in names]


def row(t: Words, signal: SignalNow) -> dict[str, str]:
    """One signal in that table."""
    low, high = ("…" if end is None else f"{end:g}" for end in (signal.low, signal.high))
    decided = _said(signal.decided)
    if signal.decided is not None and not signal.written:
        decided = t("would be {value}", value=decided)
    return {
        "name": signal.name,
        "value": f"{_said(signal.value)}{' ' + t('(outside)') if signal.outside else ''}",
        "limits": "" if signal.low is None and signal.high is None else f"{low} – {high}",
        "unit": signal.unit,
        "requested": _said(signal.requested),
        "decided": decided,
        "why": ", ".join(t(why) for why in signal.why),
    }


def interlock_text(t: Words, lock: InterlockNow) -> str:
    """One interlock, in a line."""
    until = t("latches") if lock.latch else t("until {formula}", formula=lock.until) if lock.until else ""
    text = " · ".join(part for part in (lock.when, until) if part)
    return f"{t('LATCHED')}: {text}" if lock.latched else text


def advice_text(t: Words, advice: Advice) -> str:
    """What would be written, and how old that is."""
    would = ", ".join(f"{name} = {_said(value)}" for name, value in advice.would.items())
    return t("{would} ({n} s old)", would=would, n=max(0, round(time.time() - advice.at)))


def line(record: dict[str, Any]) -> str:
    """A record without what only proves it."""
    at = record.get("at")
    clock = time.strftime("%H:%M:%S", time.localtime(at)) if isinstance(at, (int, float)) else "?"
    rest = {key: value for key, value in record.items() if key not in ("n", "at", "event", "prev", "hash", "dt")}
    return f"{record.get('n')} {clock} {record.get('event')} {json.dumps(rest, ensure_ascii=False)}"[:1_000]


def _said(value: float | None) -> str:
    return "" if value is None else f"{value:.5g}"
