"""A plant becomes a Gymnasium environment, behind a gate that no client can skip. No network, no torch."""

from rlbridge.plants.plant import Plant, PlantRefused, Reading, Signal, SimulatedPlant, Value

__all__ = ["Plant", "PlantRefused", "Reading", "Signal", "SimulatedPlant", "Value"]
