"""The bridge against the floor below it and its peers, side by side: writes docs/bridge-benchmarks.md and its picture.

    python benchmarks/bridge.py                             all of it, a quarter of an hour
    python benchmarks/bridge.py one native                  two of the sections
    python benchmarks/bridge.py --peers-python peers/bin/python

runs dm_env_rpc, OpenEnv and Ray (Apache-2.0, BSD, Apache-2.0; 0.6 GB) from an environment of their own:

    python -m venv peers
    peers/bin/pip install gymnasium dm-env-rpc ray fastapi uvicorn websockets fastmcp
    peers/bin/pip install --no-deps openenv-core            (whose web interface nobody needs here)

Every figure of a section is measured in the same minutes: each contestant is a process of its own, and they take short
turns, round after round. Ratios are medians of the rounds' ratios, so that what else the machine does meanwhile weighs
on both sides. A peer that is not installed is left out, and the reason printed. What was measured is kept in
benchmarks/results/bridge.json, section by section; sections that are not named keep the figures they have. Ends with 1
if a ratio misses its must.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any

from bridge_page import GOALS, SECTIONS, page, picture, reached
from contestants.contestant import HERE, Entry, play
from delay_proxy import DelayProxy
from learn import ROOT, cpu_model
from served import served

ROUND_TRIPS_MS = (0, 5, 20, 50)


SCHEMES = ("grpc", "http", "unix", *(("shm",) if sys.platform == "linux" else ()))


class Bridge:
    """Servers with the environments of contestants/serve.yaml, one a contestant. Use it in a ``with`` statement."""

    def __enter__(self) -> Bridge:
        self._closing = contextlib.ExitStack()
        self._folder = self._closing.enter_context(tempfile.TemporaryDirectory())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.close()

    def far_target(self, round_trip_ms: float, environment: str) -> str:
        """A target over gRPC at a distance; at 0 ms there is nothing in between."""
        target = self.target("grpc", environment)
        return self._closing.enter_context(DelayProxy(target, round_trip_ms)).url if round_trip_ms else target

    def target(self, scheme: str, environment: str) -> str:
        """The target string for one of the environments, on a server of its own."""
        path = scheme in ("unix", "shm")
        place = tempfile.mkdtemp(dir=self._folder) + "/socket" if path else "127.0.0.1:0"
        url = self._closing.enter_context(served(str(HERE), f"{scheme}://{place}")).url
        return f"{url}?env={environment}" if path else f"{url}/{environment}"

    def message_bytes(self, environment: str, num_envs: int) -> tuple[int, int]:
        """Of a step's request and answer."""
        import rlbridge

        target = self.target("grpc", environment)
        env: Any = rlbridge.make_vec(target, num_envs) if num_envs else rlbridge.make(target)
        try:
            env.reset(seed=0)
            env.action_space.seed(0)
            action, session = env.action_space.sample(), env._session
            packed = session.actions.pack_batch(action, num_envs) if num_envs else session.actions.pack(action)
            session.send_step(packed)
            request = session._in_flight[0].ByteSize()
            return request, session.receive().ByteSize()
        finally:
            env.close()


Entries = dict[str, Entry]


def one(bridge: Bridge, peers: str) -> Entries:
    """A single CartPole-v1."""
    sizes = tuple(map(str, bridge.message_bytes("cartpole", 0)))
    return {
        "raw TCP, no environment": Entry(("floor.py", "tcp", *sizes)),
        "plain gRPC stream": Entry(("floor.py", "stream", *sizes)),
        **{f"rlbridge {scheme}": Entry(("envs.py", "one", bridge.target(scheme, "cartpole"))) for scheme in SCHEMES},
        "dm_env_rpc": Entry(("peer_dm_env_rpc.py", "one"), python=peers),
        "OpenEnv": Entry(("peer_openenv.py", "one"), python=peers),
        "Ray actor": Entry(("peer_ray.py", "one"), python=peers),
        "AsyncVectorEnv(1)": Entry(("envs.py", "async", "1")),
        "in this process": Entry(("envs.py", "one", "CartPole-v1")),
    }


def _batches(bridge: Bridge, environment: str, n: int) -> Entries:
    return {
        f"rlbridge {scheme}": Entry(("envs.py", "batch", bridge.target(scheme, environment), str(n)), n)
        for scheme in SCHEMES
    }


def eight(bridge: Bridge, peers: str) -> Entries:
    """Eight CartPoles, one after the other at the server."""
    return {
        **_batches(bridge, "cartpole", 8),
        "AsyncVectorEnv(8)": Entry(("envs.py", "async", "8"), 8),
        "SyncVectorEnv(8) in this process": Entry(("envs.py", "batch", "CartPole-v1", "8"), 8),
    }


def rows(bridge: Bridge, peers: str) -> Entries:
    """256 CartPoles, one after the other at the server."""
    return {
        **_batches(bridge, "cartpole", 256),
        "SyncVectorEnv(256) in this process": Entry(("envs.py", "batch", "CartPole-v1", "256"), 256),
    }


def native(bridge: Bridge, peers: str) -> Entries:
    """256 CartPoles that are one object: the environment costs next to nothing, what carries it is all there is."""
    return {
        **_batches(bridge, "native", 256),
        "dm_env_rpc": Entry(("peer_dm_env_rpc.py", "native", "256"), 256, peers),
        "OpenEnv": Entry(("peer_openenv.py", "native", "256"), 256, peers),
        "Ray actor": Entry(("peer_ray.py", "native", "256"), 256, peers),
        "in this process": Entry(("envs.py", "native", "256"), 256),
    }


def pictures(bridge: Bridge, peers: str) -> Entries:
    """Eight observations [84, 84, 4] of bytes, 226 kB a message."""
    sizes = tuple(map(str, bridge.message_bytes("pictures", 8)))
    return {"raw TCP, no environment": Entry(("floor.py", "tcp", *sizes), 8), **_batches(bridge, "pictures", 8)}


def overlap(bridge: Bridge, peers: str) -> Entries:
    """A policy that computes for 5 ms, and SyncVectorEnv(256): two sessions in flight, or one after the other here."""
    return {
        "two sessions in flight, rlbridge grpc": Entry(("overlap.py", bridge.target("grpc", "cartpole")), 256),
        "without overlap in this process": Entry(("overlap.py", "local"), 256),
    }


def distance(bridge: Bridge, peers: str) -> Entries:
    """Eight CartPoles and a policy, at several distances, here or at the server. 0 ms: nothing in between."""
    return {
        "in this process": Entry(("policy_loop.py", "CartPole-v1"), 8),
        **{
            f"{placement}, {ms} ms": Entry((loop, bridge.far_target(ms, "cartpole")), 8)
            for placement, loop in (("step", "policy_loop.py"), ("edge", "edge_loop.py"))
            for ms in ROUND_TRIPS_MS
        },
    }


_MAKERS: Mapping[str, Callable[[Bridge, str], Entries]] = {
    maker.__name__: maker for maker in (one, eight, rows, native, pictures, overlap, distance)
}


def measure(name: str, bridge: Bridge, arguments: Any) -> dict[str, Any]:
    """One section: steps a second by contestant and round, those left out, when and where."""
    rates, skipped = play(_MAKERS[name](bridge, arguments.peers_python), arguments.rounds, arguments.seconds)
    return {"rates": rates, "skipped": skipped, "machine": machine(arguments.peers_python)}


def machine(peers: str) -> dict[str, Any]:
    """What the figures depend on beside the code."""
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)
    packages = ("grpcio", "protobuf", "websockets", "uvicorn", "numpy", "gymnasium")
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in packages} | peer_versions(peers),
        "date": time.strftime("%Y-%m-%d"),
        "commit": commit.stdout.strip() or "unknown",
    }


def peer_versions(python: str) -> dict[str, str]:
    """Of those that are installed there."""
    look = (
        "import importlib.metadata as m, json\nfound = {}\n"
        "for name in ('dm-env-rpc', 'openenv-core', 'ray'):\n"
        "    try: found[name] = m.version(name)\n"
        "    except m.PackageNotFoundError: pass\n"
        "print(json.dumps(found))"
    )
    done = subprocess.run([python, "-c", look], capture_output=True, text=True, check=True, timeout=60)
    found: dict[str, str] = json.loads(done.stdout)
    return found


def show(name: str, section: Mapping[str, Any]) -> None:
    print(f"\n{SECTIONS[name]}", flush=True)
    for contestant, rates in section["rates"].items():
        print(f"  {contestant:40} {sorted(rates)[len(rates) // 2]:12,.0f} steps/s")
    for contestant, reason in section["skipped"].items():
        print(f"  {contestant:40} left out: {reason}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", help=f"which, of {', '.join(_MAKERS)}; all if none is named")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.3, help="of one turn, about")
    parser.add_argument("--peers-python", default=sys.executable, metavar="PATH", help="an interpreter that has them")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks/results/bridge.json")
    parser.add_argument("--page", type=Path, default=ROOT / "docs/bridge-benchmarks.md")
    parser.add_argument("--json", action="store_true", help="print what was measured as one JSON object")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.sections if name not in _MAKERS]
    if unknown:
        parser.error(f"no section is called {unknown[0]!r}; there are {', '.join(_MAKERS)}")
    results = json.loads(arguments.results.read_text(encoding="utf-8")) if arguments.results.is_file() else {}
    for name in arguments.sections or _MAKERS:
        with Bridge() as bridge:
            results[name] = measure(name, bridge, arguments)
        if not arguments.json:
            show(name, results[name])
        arguments.results.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    image = arguments.page.with_suffix(".png")
    arguments.page.write_text(page(results, image.name), encoding="utf-8")
    picture(results, image)
    if arguments.json:
        print(json.dumps(results))
    else:
        print()
        for goal in GOALS:
            print(goal.line(results))
    return 0 if all(reached(goal, results) for goal in GOALS) else 1


if __name__ == "__main__":
    sys.exit(main())
