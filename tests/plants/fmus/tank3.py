"""The same tank as an FMI 3 FMU, built by pythonfmu3."""

from pythonfmu3 import Float64, Fmi3Causality, Fmi3Slave, Fmi3Variability, Int32


class Tank3(Fmi3Slave):
    """level' = inflow / area."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.time, self.level, self.inflow, self.area, self.steps = 0.0, 1.0, 0.0, 2.0, 0
        continuous = Fmi3Variability.continuous
        self.register_variable(Float64("time", causality=Fmi3Causality.independent, variability=continuous))
        self.register_variable(Float64("level", causality=Fmi3Causality.output))
        self.register_variable(Int32("steps", causality=Fmi3Causality.output))
        self.register_variable(Float64("inflow", causality=Fmi3Causality.input))
        parameter = {"causality": Fmi3Causality.parameter, "variability": Fmi3Variability.tunable}
        self.register_variable(Float64("area", **parameter))

    def do_step(self, current_time, step_size):
        self.steps += 1
        self.level += step_size * self.inflow / self.area
        return True
