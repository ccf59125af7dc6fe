"""FMI 2 and 3 (Functional Mock-up Interface): signals are variables of a co-simulation FMU, in a process of its own."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rlbridge.plants.drivers.child import Child, ChildError
from rlbridge.plants.drivers.needs import needs
from rlbridge.plants.drivers.seconds import seconds
from rlbridge.plants.plant import PlantLost, PlantRefused, Reading, Signal, Value

with needs("fmu"):
    if find_spec("fmpy") is None:  # only the FMU's own process imports it
        raise ModuleNotFoundError(name="fmpy")

_WORKER = Path(__file__).parent / "fmu_process/worker.py"


class FmuPlant:
    """A simulated plant that is an FMU. A signal's ``tag`` is the variable's name; without one, its own name is.

    Each plant has a process of its own: an FMU that crashes or hangs takes only that with it, and the next ``start``
    makes a new one. NaN and infinite values are bad. Time begins with 0 at each start.

    Args:
        signals: whose tags are names of variables, each one real, integer, enumeration or boolean number.
        safe_action: what to go to when nobody is in control.
        folder: where a relative ``file`` is.
        file: the .fmu file. It is native code: take it from somebody you trust.
        parameters: variables and their values, set before the FMU initialises; ``options={"parameters": ...}`` of a
            reset change them for that episode.
        seed: the name of a variable that is set to the seed of a reset, modulo 2 ** 31.
        step: the longest communication step in seconds; None = the whole of an ``advance``.
        timeout: seconds for each call.
        start_timeout: seconds for starting the process and unpacking and initialising the FMU.
        recycle: episodes after which the process is replaced: FMUs leak.

    Raises:
        ValueError: settings that cannot be. FileNotFoundError: no such file.
    """

    def __init__(
        self,
        signals: Sequence[Signal],
        safe_action: Mapping[str, float],
        folder: Path,
        *,
        file: str,
        parameters: Mapping[str, float] | None = None,
        seed: str = "",
        step: float | str | None = None,
        timeout: float | str = 10.0,
        start_timeout: float | str = 60.0,
        recycle: int = 100,
    ) -> None:
        self._file = folder / file
        if not self._file.is_file():
            raise FileNotFoundError(f"there is no FMU {str(self._file)!r}")
        if recycle < 1:
            raise ValueError(f"recycle: {recycle} must be greater than 0")
        self.signals = signals
        self._safe_action = dict(safe_action)
        self._names = {signal.name: str(signal.tag or signal.name) for signal in signals}
        self._parameters, self._seed = dict(parameters or {}), seed
        self._step = None if step is None else seconds("step", step)
        self._timeout, self._start_timeout = seconds("timeout", timeout), seconds("start_timeout", start_timeout)
        self._recycle = recycle
        self._child: Child | None = None
        self._unpacked: tempfile.TemporaryDirectory[str] | None = None
        self._episodes = 0
        self._time = 0.0

    @property
    def pid(self) -> int | None:
        """Of the FMU's process; None if there is none now."""
        return self._child.pid if self._child else None

    def start(self, seed: int | None, options: Mapping[str, Any]) -> None:
        """Instantiate the FMU anew.

        Raises:
            PlantRefused: no FMU of a kind known here, a variable that it does not have, or it does not initialise.
            PlantLost: it crashed or hung.
        """
        values = {**self._parameters, **options.get("parameters", {})}
        if self._seed and seed is not None:
            values[self._seed] = seed % 2**31
        if self._episodes >= self._recycle:
            self.close()
        try:
            if self._child is None:
                self._open(list(values))
            self._ask(self._start_timeout, do="start", values=values)
        except ChildError as error:
            self.close()
            raise PlantRefused(str(error)) from error
        self._episodes += 1
        self._time = 0.0

    def read(self) -> Reading:
        read = self._call(do="read", names=sorted(set(self._names.values())))
        values = {name: float(read[variable]) for name, variable in self._names.items()}
        bad = frozenset(name for name, value in values.items() if not math.isfinite(value))
        return Reading({name: value for name, value in values.items() if name not in bad}, self._time, bad)

    def write(self, commands: Mapping[str, Value]) -> None:
        self._call(do="write", values={self._names[name]: float(value) for name, value in commands.items()})

    def advance(self, dt: float) -> None:
        steps = 1 if self._step is None else max(1, math.ceil(dt / self._step - 1e-9))
        self._time = float(self._call(do="advance", dt=dt, steps=steps))

    def safe_action(self) -> Mapping[str, float]:
        return self._safe_action

    def close(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.close(min(1.0, self._timeout))
        if self._unpacked is not None:
            self._unpacked.cleanup()
            self._unpacked = None
        self._episodes = 0

    def _open(self, parameters: list[str]) -> None:
        self._unpacked = tempfile.TemporaryDirectory(prefix="rlbridge-fmu-")
        self._child = Child(_WORKER, f"the FMU {self._file.name}")
        names = [*self._names.values(), *parameters]
        self._ask(self._start_timeout, do="open", path=str(self._file), folder=self._unpacked.name, names=names)

    def _call(self, **request: Any) -> Any:
        if self._child is None:
            raise PlantLost(f"the FMU {self._file.name} is not running: it has ended, or was never started")
        try:
            return self._ask(self._timeout, **request)
        except ChildError as error:
            self.close()  # after an error of FMI the instance may not be used further
            raise PlantLost(str(error)) from error

    def _ask(self, timeout: float, **request: Any) -> Any:
        assert self._child is not None
        try:
            return self._child.ask(timeout, **request)
        except PlantLost:
            self.close()
            raise
