"""The process that holds one FMU, run as a script by ``fmu.py``: it imports nothing of rlbridge, which saves a second.

An FMU is somebody's native code: it crashes, hangs and leaks. Here it can only take this process with it. Requests are
lines of JSON on standard input, each answered by one on standard output: ``{"ok": ...}`` or ``{"error": text}``. The
first one opens the FMU. When the input ends the process ends, even if the FMU hangs: nobody is there any more.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import fmpy
from fmpy.fmi2 import FMU2Slave
from fmpy.fmi3 import FMU3Slave

Slave = Any  # FMU2Slave or FMU3Slave: two classes with the same methods under other names, and no types
_INTEGERS = ("Integer", "Enumeration", "Int8", "UInt8", "Int16", "UInt16", "Int32", "UInt32", "Int64", "UInt64")
_SECONDS_TO_END = 1.0
_REALS = ("Real", "Float64", "Float32")


class Instance:
    """One co-simulation FMU, FMI 2 or 3.

    Args:
        path: of the .fmu file.
        folder: an empty one to unpack it into.
        names: the variables that will be read or written.

    Raises:
        ValueError: no co-simulation FMU of a version known here, or a variable that it does not have; says which.
    """

    def __init__(self, path: str, folder: str, names: Sequence[str]) -> None:
        # Not validated: tools in wide use, pythonfmu among them, write descriptions that break a rule and run well.
        self._model = fmpy.read_model_description(path, validate=False)
        if self._model.coSimulation is None:
            raise ValueError(
                f"{path} is for model exchange only; this needs one for co-simulation, with its own solver"
            )
        if not self._model.fmiVersion.startswith(("2.", "3.")):
            raise ValueError(f"{path} is FMI {self._model.fmiVersion}; this reads FMI 2 and 3")
        self._path = path
        self._folder = fmpy.extract(path, folder)
        self._variables = {variable.name: variable for variable in self._model.modelVariables}
        for name in names:
            self._variable(name)
        self._slave: Slave = None
        self._time = 0.0

    def start(self, values: Mapping[str, float]) -> None:
        """Instantiate it anew, at time 0, with these values set before it initialises."""
        self.end()
        version3 = self._model.fmiVersion.startswith("3")
        self._slave = (FMU3Slave if version3 else FMU2Slave)(
            guid=self._model.guid,
            unzipDirectory=self._folder,
            modelIdentifier=self._model.coSimulation.modelIdentifier,
            instanceName=self._model.modelName,
        )
        self._slave.instantiate()
        if not version3:
            self._slave.setupExperiment(startTime=0.0)
        for name, value in values.items():
            self._set(name, value)
        self._slave.enterInitializationMode()
        self._slave.exitInitializationMode()
        self._time = 0.0

    def read(self, names: Sequence[str]) -> dict[str, float]:
        return {name: self._get(name) for name in names}

    def write(self, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._set(name, value)

    def advance(self, dt: float, steps: int) -> float:
        """Let ``dt`` seconds pass in ``steps`` communication steps; returns the time."""
        begin = self._time
        for i in range(steps):
            at, until = begin + dt * i / steps, begin + dt * (i + 1) / steps
            self._slave.doStep(currentCommunicationPoint=at, communicationStepSize=until - at)
        self._time = begin + dt
        return self._time

    def end(self) -> None:
        slave, self._slave = self._slave, None
        if slave is not None:
            slave.terminate()
            slave.freeInstance()

    def _variable(self, name: str) -> Any:
        variable = self._variables.get(name)
        if variable is None:
            raise ValueError(f"{self._path} has no variable {name!r}; it has {', '.join(self._variables)[:2000]}")
        if variable.type not in (*_INTEGERS, *_REALS, "Boolean") or variable.dimensions:
            kind = f"{variable.type} array" if variable.dimensions else variable.type
            raise ValueError(f"variable {name!r} of {self._path} is a {kind}, not one number")
        return variable

    def _get(self, name: str) -> float:
        variable = self._variable(name)
        return float(getattr(self._slave, f"get{_method(variable.type)}")([variable.valueReference])[0])

    def _set(self, name: str, value: float) -> None:
        variable = self._variable(name)
        number: float = value
        if variable.type in _INTEGERS:
            number = round(value)
        elif variable.type == "Boolean":
            number = value >= 0.5
        getattr(self._slave, f"set{_method(variable.type)}")([variable.valueReference], [number])


def _method(kind: str) -> str:
    return "Integer" if kind == "Enumeration" else kind


def _answer(instance: Instance, request: dict[str, Any]) -> Any:
    what = request["do"]
    if what == "read":
        return instance.read(request["names"])
    if what == "advance":
        return instance.advance(request["dt"], request["steps"])
    (instance.start if what == "start" else instance.write)(request["values"])
    return None


def main() -> None:
    """Serve requests until the input ends."""
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # an FMU that prints must not print into the answers
    requests: queue.SimpleQueue[str] = queue.SimpleQueue()

    def receive() -> None:
        for line in sys.stdin:
            requests.put(line)
        requests.put("")
        time.sleep(_SECONDS_TO_END)
        os._exit(1)  # the FMU hangs

    threading.Thread(target=receive, daemon=True).start()
    instance: Instance | None = None
    while line := requests.get():
        try:
            request, result = json.loads(line), None
            if instance is None:
                instance = Instance(request["path"], request["folder"], request["names"])
            else:
                result = _answer(instance, request)
            reply = {"ok": result}
        except Exception as error:  # FMPy raises Exception itself
            reply = {"error": f"{type(error).__name__}: {error}"}
        channel.write(f"{json.dumps(reply)}\n")
        channel.flush()
    if instance is not None:
        instance.end()
    os._exit(0)


if __name__ == "__main__":
    main()
