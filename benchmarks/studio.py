"""What the studio costs: how soon a page can be used, with little and with ten million steps to show, and what ten
open pages take from a training.

    python benchmarks/studio.py [--rounds 9] [--seconds 8] [--json]

Needs Playwright (pip install playwright) and a Chromium on the PATH. A page can be used when its heading, its numbers
and its curves are there and its WebSocket is connected: measured in a fresh browser context, without a cache. For the
ten pages a training goes on all the while, and intervals without pages and with ten pages take turns; the ratio of its
steps per second is the median over the rounds. The ten pages are connections that take everything a browser would be
sent and draw nothing: drawing is the business of ten people's own machines. Ends with 1 if a page takes more than
2 s, or ten pages take more than 3 % of the training's speed.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from rlbridge.config import dump_config, load_config
from rlbridge.runs.manager import Runs, waited

MUST_SECONDS, MUST_SHARE = 2.0, 0.97
LONG_STEPS, STEPS_OF_A_ROW = 10_000_000, 128


def put_long_run(runs: Runs, name: str) -> None:
    """A run of ten million steps that reported every 128 of them, as PPO does with one short rollout."""
    folder = runs.path(name)
    folder.mkdir()
    (folder / "config.yaml").write_text(dump_config(load_config({"run": {"name": name}})), encoding="utf-8")
    names = ("train/loss", "train/value_loss", "train/policy_gradient_loss", "train/entropy_loss", "train/approx_kl")
    with (folder / "metrics.jsonl").open("w", encoding="utf-8") as file:
        for n in range(LONG_STEPS // STEPS_OF_A_ROW):
            step = (n + 1) * STEPS_OF_A_ROW
            row: dict[str, float] = {"step": step, "seconds": n * 0.05, "time/fps": 4_000.0 + n % 500}
            row |= {"rollout/ep_rew_mean": 500.0 * step / LONG_STEPS, "rollout/ep_len_mean": 100.0 + n % 7}
            row |= dict.fromkeys(names, (n * 2_654_435_761 % 1_000) / 1_000)
            if n % 100 == 0:
                row["eval/return_mean"] = 480.0 * step / LONG_STEPS
            file.write(json.dumps(row) + "\n")
    state = {"status": "finished", "reason": "total_steps", "steps": LONG_STEPS, "total_steps": LONG_STEPS}
    (folder / "state.json").write_text(json.dumps({**state, "updated": time.time()}), encoding="utf-8")


class Studio:
    """``rlbridge studio`` in a process of its own."""

    def __init__(self, runs: Path) -> None:
        command = [sys.executable, "-m", "rlbridge", "studio", "--bind", "http://127.0.0.1:0", "--runs", str(runs)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().split()[1]

    def processor_seconds(self) -> float:
        return processor_seconds(self._process.pid)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(10)


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def open_seconds(browser: Any, url: str, ready: str) -> float:
    """Until ``ready`` (a JavaScript condition) holds in a page that nothing is cached of."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    try:
        page = context.new_page()
        started = time.perf_counter()
        page.goto(url, wait_until="commit")
        page.wait_for_function(f"() => window.socket?.connected && ({ready})", timeout=30_000)
        return time.perf_counter() - started
    finally:
        context.close()


HEADING = "document.querySelector('h1')"
DRAWN = "[...document.querySelectorAll('canvas')].length >= 3 && document.body.innerText.includes('10,000,000')"


def measure_pages(browser: Any, url: str, rounds: int) -> dict[str, float]:
    """Median seconds until each page can be used."""
    pages = {"/": HEADING, "/new": HEADING, "/models": HEADING, "/servers": HEADING, "/run/ten-million": DRAWN}
    found: dict[str, list[float]] = {path: [] for path in pages}
    for _ in range(rounds):
        for path, ready in pages.items():
            found[path].append(open_seconds(browser, url + path, ready))
    return {path: statistics.median(seconds) for path, seconds in found.items()}


class OpenPages:
    """Ten pages of a run, held open by a process of its own."""

    def __init__(self, url: str) -> None:
        command = [sys.executable, __file__, "--hold-open", url]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline().strip() == "open"

    def close(self) -> int:
        """Close them; returns how many messages came."""
        told, _ = self._process.communicate("\n", timeout=30)
        return int(told)


async def hold_open(url: str, pages: int = 10) -> None:
    """Open pages as a browser does, take what comes until stdin has a line, and print how many messages that was."""
    import socketio

    messages = 0

    async def take(event: str, *data: Any) -> None:
        nonlocal messages
        messages += 1

    clients = []
    for number in range(pages):
        page = urllib.request.urlopen(url, timeout=10).read().decode()
        found = re.search(r"query: (\{.*?\}),\n", page)
        assert found, "the page does not say how to connect"
        query = {**ast.literal_eval(found[1]), "tab_id": f"tab-{number}", "document_id": f"document-{number}"}
        client = socketio.AsyncClient()
        client.on("*", take)
        asked = urlencode({key: str(value).lower() if value is True else value for key, value in query.items()})
        base = url.split("/run/")[0]
        await client.connect(f"{base}?{asked}", socketio_path="/_nicegui_ws/socket.io", transports=["websocket"])
        if not query.get("implicit_handshake"):
            assert await client.call("handshake", query, timeout=10)
        clients.append(client)
    print("open", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    for client in clients:
        await client.disconnect()
    print(messages, flush=True)


def measure_cost(studio: Studio, runs: Runs, name: str, rounds: int, seconds: float) -> dict[str, float]:
    """What ten pages of a run take from it."""

    def interval() -> tuple[float, float]:
        """The run's steps per second, and the studio's share of a core."""
        at, own = _steps(runs, name), studio.processor_seconds()
        time.sleep(seconds)
        then = _steps(runs, name)
        wall = then[0] - at[0]
        return (then[1] - at[1]) / wall, (studio.processor_seconds() - own) / wall

    ratios, shares, messages = [], [], []
    for number in range(rounds):
        found = {}
        for watched in (number % 2 == 0, number % 2 == 1):  # which comes first takes turns, too
            pages = OpenPages(f"{studio.url}/run/{name}") if watched else None
            found[watched] = interval()
            if pages is not None:
                messages.append(pages.close() / seconds)
        ratios.append(found[True][0] / found[False][0])
        shares.append(found[True][1])
    return {
        "speed": statistics.median(ratios),
        "quartiles": statistics.quantiles(ratios, n=4)[::2] if rounds > 1 else ratios * 2,  # type: ignore[dict-item]
        "studio_share_of_a_core": statistics.median(shares),
        "messages_per_second": statistics.median(messages),
    }


def _steps(runs: Runs, name: str) -> tuple[float, float]:
    """When the run last wrote its state [s], and its steps then: exact at the moment that it is written."""
    file = runs.path(name) / "state.json"
    before = json.loads(file.read_text())["updated"]
    while (state := json.loads(file.read_text()))["updated"] == before:
        time.sleep(0.005)
    return float(state["updated"]), float(state["steps"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=8.0, help="of one interval with or without pages")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--hold-open", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.hold_open:
        asyncio.run(hold_open(arguments.hold_open))
        return 0
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        parser.error("there is no Chromium on the PATH (Debian: apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        runs = Runs(Path(folder) / "runs")
        put_long_run(runs, "ten-million")
        studio = Studio(runs.folder)
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        training = runs.start(
            load_config({"algorithm": {"name": "ppo", "total_steps": 10**9}, "run": {"name": "training"}})
        )
        try:
            runs_found = waited(runs, training, 60.0, "running")
            assert runs_found.status == "running", runs_found
            runs.pause(training)
            waited(runs, training, 10.0, "paused")
            pages = measure_pages(browser, studio.url, arguments.rounds)
            runs.resume(training)
            waited(runs, training, 10.0, "running")
            browser.close()
            cost = measure_cost(studio, runs, training, arguments.rounds, arguments.seconds)
        finally:
            runs.kill(training)
            waited(runs, training, 10.0, "killed")
            studio.stop()
    good = max(pages.values()) <= MUST_SECONDS and cost["speed"] >= MUST_SHARE
    if arguments.json:
        print(json.dumps({"pages": pages, **cost}))
    else:
        print("page               seconds until it can be used (must be at most 2)")
        for path, seconds in pages.items():
            print(f"{path:18} {seconds:.2f}")
        low, high = cost["quartiles"]  # type: ignore[misc]
        print(f"training with ten pages open against none: {cost['speed']:.3f} of the speed (must be at least 0.97),")
        print(f"middle half of the rounds {low:.3f} to {high:.3f}; the studio takes", end=" ")
        print(
            f"{100 * cost['studio_share_of_a_core']:.1f} % of a core for {cost['messages_per_second']:.0f} messages/s"
        )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
