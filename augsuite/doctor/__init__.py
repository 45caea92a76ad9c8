"""Whether this machine can do what augsuite offers: what is there, what is missing, what is broken, and what to do about it."""

from augsuite.doctor.examining import examine, failed
from augsuite.doctor.report import Check

__all__ = ["Check", "examine", "failed"]
