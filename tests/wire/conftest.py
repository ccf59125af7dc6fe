"""The hypothesis profile of these tests (the same examples every time), and a lid on their memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "wire",
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=120,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
settings.load_profile("wire")


@pytest.fixture
def little_memory() -> Iterator[None]:
    """512 MiB more than now, for the whole process: whoever asks for more gets a MemoryError, which is no WireError.

    Where there is no such limit (macOS, Windows) the tests run without it.
    """
    statm = Path("/proc/self/statm")
    if not statm.exists():
        yield
        return
    import resource

    now = int(statm.read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (now + (512 << 20), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
