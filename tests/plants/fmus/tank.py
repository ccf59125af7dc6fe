"""An FMI 2 FMU for the tests, built by pythonfmu: a tank, and every way to misbehave."""

import os
import time

from pythonfmu import Boolean, Fmi2Causality, Fmi2Slave, Fmi2Variability, Integer, Real, String


class Tank(Fmi2Slave):
    """level' = inflow / area. ``mode``: 1 crashes, 2 hangs, 3 fails, 4 gives NaN, 5 prints, in the next step."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.level, self.inflow, self.area, self.mode, self.steps = 1.0, 0.0, 2.0, 0, 0
        self.full, self.seed, self.label = False, 0, "tank"
        self.register_variable(Real("level", causality=Fmi2Causality.output))
        self.register_variable(Integer("steps", causality=Fmi2Causality.output))
        self.register_variable(Boolean("full", causality=Fmi2Causality.output))
        self.register_variable(Real("inflow", causality=Fmi2Causality.input))
        self.register_variable(Integer("mode", causality=Fmi2Causality.input))
        tunable = {"causality": Fmi2Causality.parameter, "variability": Fmi2Variability.tunable}
        self.register_variable(Real("area", **tunable))
        self.register_variable(Integer("seed", **tunable))
        self.register_variable(String("label", **tunable))

    def do_step(self, current_time, step_size):
        if self.mode == 1:
            os.abort()
        if self.mode == 2:
            time.sleep(600)
        if self.mode == 5:
            os.write(1, b"hello from the FMU\n")
        self.steps += 1
        self.level = float("nan") if self.mode == 4 else self.level + step_size * self.inflow / self.area
        self.full = self.level > 2
        return self.mode != 3
