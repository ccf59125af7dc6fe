"""A plant becomes a Gymnasium environment, behind a gate that no client can skip. No network, no torch."""

from rlbridge.plants.plant import Plant, PlantLost, PlantRefused, Reading, Signal, SimulatedPlant, Value

__all__ = ["Plant", "PlantLost", "PlantRefused", "Reading", "Signal", "SimulatedPlant", "Value"]
