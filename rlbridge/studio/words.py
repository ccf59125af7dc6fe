"""What the pages say, in English and in Chinese. The English text is the key; what has no translation stays English."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

LANGUAGES = {"en": "English", "zh": "中文"}
COOKIE = "rlbridge_language"
Words = Callable[..., str]


def words_of(language: str) -> Words:
    """``t("{n} steps", n=3)`` in that language; an unknown one is English."""
    there = translations(language)

    def t(text: str, **values: Any) -> str:
        said = there.get(text, text)
        return said.format(**values) if values else said

    return t


@functools.cache
def translations(language: str) -> dict[str, str]:
    """The texts of a language by the English ones; none for English itself."""
    file = Path(__file__).with_name(f"{language}.json")
    if language not in LANGUAGES or not file.is_file():
        return {}
    found: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
    return found


def preferred(cookie: str | None, accepted: str | None) -> str:
    """The language that was chosen, else the first that the browser asks for and there is, else English."""
    if cookie in LANGUAGES:
        return cookie
    for part in (accepted or "").split(","):
        language = part.split(";")[0].strip().split("-")[0].lower()
        if language in LANGUAGES:
            return language
    return "en"
