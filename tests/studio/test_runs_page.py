"""The table of runs."""

import asyncio
import json

from nicegui import ui

from rlbridge.config import dump_config, load_config
from tests.studio.simulated import make_workshop, studio_user


def put_run(workshop, name, **state):
    folder = workshop.runs.folder / name
    folder.mkdir()
    config = load_config({"env": {"target": "CartPole-v1"}, "run": {"name": name}})
    (folder / "config.yaml").write_text(dump_config(config))
    (folder / "state.json").write_text(json.dumps({"status": "finished", "reason": "total_steps", **state}))
    rows = [{"step": n * 100, "rollout/ep_rew_mean": float(n)} for n in range(1, 6)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_the_runs_are_listed_compared_and_renamed(tmp_path):
    workshop = make_workshop(tmp_path)
    put_run(workshop, "first", steps=500)
    put_run(workshop, "second", steps=900)

    async def scenario():
        async with studio_user(workshop) as user:
            await user.open("/")
            table = next(iter(user.find(ui.table).elements))
            assert {row["name"]: row["steps"] for row in table.rows} == {"first": 500, "second": 900}

    asyncio.run(scenario())
