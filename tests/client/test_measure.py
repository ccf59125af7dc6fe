"""``rlbridge bench``: figures that add up, on every kind of target, and no random actions for a live plant."""

from __future__ import annotations

import json
import time

import pytest
from typer.testing import CliRunner

from rlbridge.cli import app
from rlbridge.client.measure import PARTS, LivePlant, measure
from rlbridge.plants import Clock, DeadMan, Gate, PlantEnv
from rlbridge.server.catalog import Offer
from tests.envs import Counter
from tests.plants.tanks import LiveTank


def bench(*arguments: str):
    return CliRunner().invoke(app, ["bench", *arguments])


@pytest.mark.parametrize("scheme", ["grpc", "http"])
@pytest.mark.parametrize("num_envs", [0, 3])
def test_the_parts_of_a_step_add_up_to_it(serve, scheme, num_envs):
    server = serve("CartPole-v1", bind=f"{scheme}://127.0.0.1:0")
    found = measure(server.urls[0], steps=300, num_envs=num_envs)
    assert (found.environment, found.num_envs, found.steps) == ("CartPole-v1", num_envs, 300)
    assert tuple(found.parts_us) == PARTS
    assert all(us > 0 for us in found.parts_us.values())
    # Medians need not add up to the median, and serialising is measured apart: within a factor of two they do.
    assert 0.5 < sum(found.parts_us.values()) / found.median_us < 2.0
    assert found.median_us <= found.p95_us
    assert found.answer_bytes > max(num_envs, 1) * (4 * 4 + 8 + 2)


class Slow(Counter):
    """Its step takes 20 ms at least."""

    def step(self, action):
        time.sleep(0.02)
        return super().step(action)


def test_time_is_booked_where_it_was_spent(serve):
    server = serve([Offer("slow", Slow)])
    parts = measure(server.urls[0], steps=10).parts_us
    assert parts["env"] >= 20_000
    assert parts["env"] == max(parts.values())


def test_without_a_server_all_of_it_is_the_environment():
    found = measure("CartPole-v1", steps=50, num_envs=2)
    assert found.server == ""
    assert found.parts_us["env"] == found.median_us
    assert sum(found.parts_us.values()) == found.parts_us["env"]


def test_the_command_prints_a_table_or_an_object(serve):
    url = serve("CartPole-v1").urls[0]
    done = bench(url, "--steps", "50", "--num-envs", "2")
    assert done.exit_code == 0
    assert "steps/s" in done.stdout
    for part in PARTS:
        assert f"  {part}" in done.stdout
    facts = json.loads(bench(url, "--steps", "50", "--json").stdout)
    assert facts["target"] == url
    assert facts["steps"] == 50
    assert set(facts["parts_us"]) == set(PARTS)
    assert bench("grpc://127.0.0.1:1", "--steps", "1").exit_code == 3
    assert bench(url, "--steps", "0").exit_code == 2


def test_a_live_plant_gets_no_random_actions_unless_agreed(serve, tmp_path):
    plants = []

    def make():
        plants.append(LiveTank())
        return PlantEnv(
            plants[-1], gate=Gate(dead_man=DeadMan(hold=3600.0, ramp=0.0)), clock=Clock(period=0.02), folder=tmp_path
        )

    url = serve([Offer("tank", make)]).urls[0]
    with pytest.raises(LivePlant, match="nothing was sent"):
        measure(url, steps=1)
    done = bench(url, "--steps", "1")
    assert done.exit_code == 2
    assert "--live" in done.output
    assert [plant.started for plant in plants] == [0] * len(plants)
    assert measure(url, steps=2, live=True).steps == 2
    assert plants[-1].started == 1
