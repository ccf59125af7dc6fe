"""Names the cause when a server cannot be used, or is slow: examinations of one target, from the bottom up."""

from rlbridge.doctor.diagnosis import diagnose, examine
from rlbridge.doctor.finding import Finding

__all__ = ["Finding", "diagnose", "examine"]
