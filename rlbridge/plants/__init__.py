"""A plant becomes a Gymnasium environment, behind a gate that no client can skip. No network, no torch."""

from rlbridge.plants.env import BadAction, PlantEnv, PlantVectorEnv
from rlbridge.plants.gate import Reason
from rlbridge.plants.plant import BatchPlant, Plant, PlantLost, PlantRefused, Reading, Signal, SimulatedPlant, Value
from rlbridge.plants.plant_file import load_plant
from rlbridge.plants.rules import BadPlant
from rlbridge.plants.settings import Clock, DeadMan, Gate, Interlock, Task
from rlbridge.plants.task import Transition

__all__ = [
    "BadAction",
    "BadPlant",
    "BatchPlant",
    "Clock",
    "DeadMan",
    "Gate",
    "Interlock",
    "Plant",
    "PlantEnv",
    "PlantLost",
    "PlantRefused",
    "PlantVectorEnv",
    "Reading",
    "Reason",
    "Signal",
    "SimulatedPlant",
    "Task",
    "Transition",
    "Value",
    "load_plant",
]
