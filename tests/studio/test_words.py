"""Every text of the studio, and every help text of the config, is there in Chinese."""

import ast
import asyncio
import re
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest

import rlbridge.cli.inspect
import rlbridge.studio
from rlbridge.config import ALGORITHMS
from rlbridge.plants.settings import MODES
from rlbridge.runs.standing import Status
from rlbridge.studio import player
from rlbridge.studio.form import fields_of
from rlbridge.studio.refusals import SENTENCES
from rlbridge.studio.shell import PAGES
from rlbridge.studio.words import translations, words_of
from tests.studio.simulated import make_workshop, studio_user

STUDIO = Path(rlbridge.studio.__file__).parent
MANY = 100  # there are more in each group that is counted; far fewer would mean that the search is broken


def test_what_the_pages_say_is_translated():
    said = texts_of_the_pages()
    assert len(said) > MANY
    assert {text: where for text, where in said.items() if text not in translations("zh")} == {}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_help_of_each_setting_is_translated(algorithm):
    assert sorted(helps(algorithm) - translations("zh").keys()) == []


def test_what_the_config_refuses_is_translated():
    assert sorted(set(SENTENCES) - translations("zh").keys()) == []


def test_a_translation_has_the_values_of_its_text():
    unlike = {text: said for text, said in translations("zh").items() if places(text) != places(said)}
    assert unlike == {}


def test_no_translation_is_left_over():
    used = {*texts_of_the_pages(), *SENTENCES, *(text for name in ALGORITHMS for text in helps(name))}
    assert sorted(translations("zh").keys() - used) == []


def test_the_file_is_sorted_one_entry_a_line():
    lines = (STUDIO / "zh.json").read_text(encoding="utf-8").splitlines()
    assert list(translations("zh")) == sorted(translations("zh"))
    assert len(lines) == len(translations("zh")) + 2
    assert not [line for line in lines if "\\u" in line]


def test_a_text_without_a_translation_stays_english():
    assert words_of("zh")("nobody has translated {n}", n=3) == "nobody has translated 3"
    assert words_of("en")("{n} episodes", n=3) == "3 episodes"
    assert words_of("zh")("{n} episodes", n=3) == "3 个回合"


def test_browsers_that_ask_at_once_are_each_served_in_their_own_language(tmp_path):
    asked = {
        "zh": ("zh-CN", "搜索"),
        "en": ("en-US", "Search"),
        "zh-TW,en": ("zh-CN", "搜索"),
        "fr": ("en-US", "Search"),
    }

    async def scenario():
        async with studio_user(make_workshop(tmp_path)) as user:
            pages = await asyncio.gather(
                *(user.http_client.get("/", headers={"accept-language": languages}) for languages in asked)
            )
        for page, (language, word) in zip(pages, asked.values(), strict=True):
            assert f'<html lang="{language}"' in page.text
            assert word in page.text

    asyncio.run(scenario())


def helps(algorithm: str) -> set[str]:
    return {field.help for fields in fields_of(algorithm).values() for field in fields}


def places(text: str) -> list[str]:
    return sorted(re.findall(r"\{\w*\}", text))


def texts_of_the_pages() -> dict[str, str]:
    """Every text that may go through ``t``, and where it does."""
    return {text: where for file in sorted(STUDIO.glob("*.py")) for text, where in texts_of(file)}


def texts_of(file: Path) -> Iterator[tuple[str, str]]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    tables = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or (argument := translated(node)) is None:
            continue
        where = f"{file.name}:{node.lineno}"
        for text in possible(file, argument, tables, where):
            yield text, where


def translated(call: ast.Call) -> ast.expr | None:
    """What a call has translated, if it is such a call: t(TEXT), self._t(TEXT), frame(request, TEXT)."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    place = {"t": 0, "_t": 0, "frame": 1}.get(name)
    return call.args[place] if place is not None and len(call.args) > place else None


def possible(file: Path, argument: ast.expr, tables: dict[str, ast.expr], where: str) -> list[str]:
    """The texts that an argument may be: a literal, one of two, an entry of a table of the file, or what is known."""
    if isinstance(argument, ast.Constant):
        return [argument.value]
    if isinstance(argument, ast.IfExp):
        return [text for branch in (argument.body, argument.orelse) for text in possible(file, branch, tables, where)]
    if isinstance(argument, ast.Subscript) and isinstance(argument.value, ast.Name) and argument.value.id in tables:
        return list(ast.literal_eval(tables[argument.value.id]).values())
    written = file.name, ast.unparse(argument)
    assert written in KNOWN, f"{where}: say in KNOWN what t({written[1]}) may be"
    return KNOWN[written]


def facts() -> list[str]:
    """The names of what `rlbridge inspect` finds, as the page shows them; and what it says of no server."""
    found = ["none: made in this process"]
    for node in ast.walk(ast.parse(Path(rlbridge.cli.inspect.__file__).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Return) and isinstance(node.value, ast.Dict):
            for key, value in zip(node.value.keys, node.value.values, strict=True):
                inner = [f"{key.value}.{name.value}" for name in value.keys] if isinstance(value, ast.Dict) else []
                found += inner or [key.value]
    return found


KNOWN = {
    ("shell.py", "name"): [name for _, name in PAGES],
    ("shell.py", "title"): [],  # the argument of frame(), which is looked at where it is called
    ("runs_page.py", "now.status"): list(typing.get_args(Status)),
    ("run_page.py", "now.status"): list(typing.get_args(Status)),
    ("settings_form.py", "field.help"): [],  # the config's, which have a test of their own
    ("environment_part.py", "name"): facts(),
    ("environment_part.py", "value"): [],
    ("plant_panel.py", "now.mode"): list(MODES),
    ("plant_panel.py", "mode"): list(MODES),
    ("plant_panel.py", "verb"): ["clear", "confirm", "estop", "mode"],
    # What a gate says of an action; docs/plants.md has the table.
    ("plant_words.py", "why"): [
        *("hold", "interlock", "limit", "ramp", "rate", "readback", "refused", "trip", "unwritten"),
    ],
    ("player_view.py", "now.status"): list(typing.get_args(player.Status)),
    ("server_card.py", "status"): ["starting", "answers", "does not answer", "ended", "did not start"],
    ("refusals.py", "sentence"): [],  # SENTENCES, which have a test of their own
    ("refusals.py", "values['status']"): list(typing.get_args(Status)),
}
