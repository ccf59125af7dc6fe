"""Walk through the studio in a browser as its users do, in English and in Chinese, and take a picture of every page.

    python scripts/walk_studio.py [--pictures docs/studio] [--languages en zh]

Serves the factory line, probes it, starts a training, watches the curve grow, holds it, lets it go on, stops it, takes
it up again, trains on, plays the policy, exports it, kills the studio and finds the run again, serves a plant and
presses its e-stop.
Fails where something is not there within its time, where a page asks another host for anything, where the browser
reports an error, or where a page is wider than the window. Needs Playwright (pip install playwright) and a Chromium on
the PATH; says so with exit code 77 where they are missing.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import rlbridge
from rlbridge.plants.operator import OperatorFile
from rlbridge.runs.manager import Runs, waited
from rlbridge.studio.servers import Servers
from rlbridge.studio.words import words_of

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from tests.studio.served import put_plant  # noqa: E402  the plant that the tests stop, too

MISSING = 77
SECONDS = 60
WIDE, NARROW = 1280, 390


class Studio:
    """``rlbridge studio`` in a process of its own."""

    def __init__(self, runs: Path, env_servers: Path) -> None:
        self.env_servers = env_servers
        places = ["--runs", str(runs), "--env-servers", str(env_servers)]
        command = [sys.executable, "-m", "rlbridge", "studio", "--bind", "http://127.0.0.1:0", *places]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().split()[1]

    def end(self, how: int = signal.SIGTERM) -> None:
        if self._process.poll() is None:
            os.kill(self._process.pid, how)
            self._process.wait(15)


class Walk:
    """One browser in one language."""

    def __init__(self, browser: Any, language: str, pictures: Path) -> None:
        self.t, self._pictures = words_of(language), pictures
        self._suffix = "" if language == "en" else f"-{language}"
        self._context = browser.new_context(
            viewport={"width": WIDE, "height": 900}, locale={"en": "en-GB", "zh": "zh-CN"}[language]
        )
        self._context.set_default_timeout(SECONDS * 1000)
        self.page = self._context.new_page()
        self.wrong: list[str] = []
        self.page.on("request", self._look_at_request)
        self.page.on("pageerror", lambda error: self.wrong.append(f"error in the page: {error}"))
        self.page.on("console", lambda said: said.type == "error" and self.wrong.append(f"console: {said.text}"))

    def _look_at_request(self, request: Any) -> None:
        if not request.url.startswith(("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:")):
            self.wrong.append(f"asked elsewhere: {request.url}")

    def open(self, url: str, path: str) -> None:
        self.page.goto(url + path)
        self.page.wait_for_function("() => window.socket?.connected")

    def by(self, mark: str) -> Any:
        return self.page.locator(f'[data-testid="{mark}"]').first

    def press(self, text: str) -> None:
        self.page.get_by_role("button", name=self.t(text), exact=True).first.click()

    def status_is(self, status: str) -> None:
        self.page.wait_for_function(
            "said => document.querySelector('[data-testid=status]')?.innerText.trim() === said",
            arg=self.t(status),
        )

    def picture(self, name: str) -> None:
        """Both widths; a page that can be moved sideways is a mistake."""
        self.page.wait_for_function("() => !document.querySelector('.q-notification')")
        for width, suffix in ((NARROW, "-narrow"), (WIDE, "")):
            self.page.set_viewport_size({"width": width, "height": 900})
            self.page.wait_for_timeout(400)  # for the charts to take their new size; nothing is looked for by it
            over = self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
            if over > 0:
                self.wrong.append(f"{name}: {over} pixels wider than a window of {width}")
            self.page.evaluate("window.scrollTo(0, 0)")
            self.page.screenshot(path=self._pictures / f"{name}{self._suffix}{suffix}.png", full_page=True)

    def close(self) -> None:
        self._context.close()


def set_up(walk: Walk, studio: Studio) -> str:
    """A new run on the factory line; returns its name."""
    t, page = walk.t, walk.page
    walk.open(studio.url, "/new")
    page.get_by_label(t("Or serve a simulator of this machine")).click()
    page.get_by_role("option", name="factory_line").click()
    walk.press("Serve and use it")
    page.get_by_text("Box(-1.0, 1.0, (18,), float32)").wait_for()
    walk.by("algorithm.gamma").fill("2")
    page.get_by_text("algorithm.gamma").first.wait_for()
    assert page.get_by_role("button", name=t("Start"), exact=True).is_disabled()
    walk.by("algorithm.gamma").fill("0.99")
    walk.by("algorithm.total_steps").fill("30000")
    walk.by("evaluation.every").fill("4096")
    page.wait_for_function(
        "() => document.querySelector('textarea').value.includes('total_steps: 30000')"
        " && document.querySelector('textarea').value.includes('every: 4096')"
    )
    walk.picture("new")
    walk.press("Start")
    page.wait_for_url("**/run/*")
    return str(page.url.rpartition("/")[2])


def steer(walk: Walk, runs: Runs, name: str) -> None:
    """The curve grows; hold, go on, stop, take up."""
    walk.status_is("running")
    walk.page.wait_for_function(
        "() => parseInt(document.querySelector('[data-testid=numbers]').innerText.replace(/[^0-9]/g, '')) > 0"
    )
    before = runs.standing(name).steps
    walk.press("Pause")
    walk.status_is("paused")
    walk.press("Resume")
    walk.status_is("running")
    waited_for_steps(walk, runs, name, before + 9_000)
    walk.press("Stop")
    walk.status_is("stopped")
    assert runs.standing(name).steps > before
    walk.picture("run")
    walk.press("Resume")
    walk.status_is("running")


def waited_for_steps(walk: Walk, runs: Runs, name: str, steps: int) -> None:
    for _ in range(SECONDS * 10):
        if runs.standing(name).steps >= steps or not runs.standing(name).alive:
            break
        walk.page.wait_for_timeout(100)
    assert runs.standing(name).steps >= steps, runs.standing(name)


def survive(walk: Walk, studio: Studio, runs: Runs, name: str) -> Studio:
    """SIGKILL the studio: the run goes on, another studio finds it and can stop it."""
    before = runs.standing(name).steps
    studio.end(signal.SIGKILL)
    walk.wrong = [said for said in walk.wrong if "ERR_CONNECTION" not in said]
    studio = Studio(runs.folder, studio.env_servers)
    waited_for_steps(walk, runs, name, min(before + 1_000, 30_000))
    walk.open(studio.url, f"/run/{name}")
    if runs.standing(name).alive:
        walk.status_is("running")
        walk.press("Stop")
        walk.status_is("stopped")
        walk.press("Resume")
    walk.status_is("finished")
    walk.wrong = [said for said in walk.wrong if "ERR_CONNECTION" not in said]
    return studio


def try_out(walk: Walk, studio: Studio, name: str) -> None:
    """Play the policy, and export it."""
    walk.open(studio.url, f"/models?run={name}")
    walk.press("Play")
    walk.page.wait_for_function("() => document.querySelector('[data-testid=frame]')?.src?.startsWith('data:image')")
    walk.picture("models")
    walk.page.locator('[data-testid="stop-playing"]').first.click()
    walk.by("pictures").click()
    walk.by("episodes-wanted").fill("3")
    walk.page.wait_for_function("() => !document.querySelector('[data-testid=play]').disabled")
    walk.press("Play")
    count = walk.t("{count} episodes: return {mean} ± {deviation}").partition("{mean}")[0].format(count=3)
    walk.page.wait_for_function(
        "said => document.querySelector('[data-testid=player-figures]')?.innerText.startsWith(said)", arg=count
    )
    walk.by("export").click()
    with walk.page.expect_download() as download:
        walk.by("download-policy-onnx").click()
    assert Path(download.value.path()).stat().st_size > 1_000


def compare(walk: Walk, studio: Studio, name: str) -> None:
    walk.open(studio.url, "/")
    row = walk.page.get_by_role("row", name=name)
    row.get_by_role("checkbox").click()
    walk.page.locator("canvas").first.wait_for()
    walk.picture("runs")


def stop_a_plant(walk: Walk, studio: Studio) -> None:
    """Serve a plant, watch it, press its e-stop; then stop its server."""
    walk.open(studio.url, "/servers")
    walk.by("serve-what").fill("tank")
    walk.by("start-server").click()
    servers = Servers(studio.env_servers.parent / "runs" / ".servers")
    urls: list[str] = []
    for _ in range(SECONDS * 10):
        urls = [url for server in servers.all() if server.environment == "tank" for url in server.urls]
        if urls:
            break
        walk.page.wait_for_timeout(100)
    env = rlbridge.make(urls[0])
    env.reset()
    env.step(np.array([0.75], np.float32))
    walk.page.get_by_text("0.75").first.wait_for()
    walk.by("estop").click()
    walk.page.get_by_text(walk.t("E-stop in force: {why}.").partition("{why}")[0].strip(" :：")).first.wait_for()
    walk.picture("servers")
    env.close()
    operator = OperatorFile(studio.env_servers / "tank" / "operator.jsonl")
    operator.command("clear", "walk", operator.token_path.read_text())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path, help="where the pictures go; by default nowhere")
    parser.add_argument("--languages", nargs="*", default=["en", "zh"])
    arguments = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        print("playwright is not installed: pip install playwright", file=sys.stderr)
        return MISSING
    if chromium is None:
        print("there is no Chromium on the PATH (Debian: apt-get install chromium)", file=sys.stderr)
        return MISSING
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        pictures = arguments.pictures or Path(folder)
        pictures.mkdir(parents=True, exist_ok=True)
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        runs = Runs(Path(folder) / "runs")
        env_servers = Path(folder) / "env_servers"
        shutil.copytree(ROOT / "env_servers" / "factory_line", env_servers / "factory_line")
        OperatorFile(put_plant(env_servers) / "operator.jsonl").create()
        studio = Studio(runs.folder, env_servers)
        try:
            for language in arguments.languages:
                walk = Walk(browser, language, pictures)
                name = set_up(walk, studio)
                steer(walk, runs, name)
                studio = survive(walk, studio, runs, name)
                try_out(walk, studio, name)
                compare(walk, studio, name)
                stop_a_plant(walk, studio)
                walk.close()
                print(f"{language}: {'all is well' if not walk.wrong else walk.wrong}", flush=True)
                if walk.wrong:
                    return 1
        finally:
            studio.end()
            for name in runs.names():
                runs.kill(name)
                waited(runs, name, 10, "killed", "finished", "stopped", "failed")
            servers = Servers(runs.folder / ".servers")
            for server in servers.all():
                servers.stop(server.name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
