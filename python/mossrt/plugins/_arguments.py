"""Checks that the plugins share."""

from __future__ import annotations


def positive(value: float, name: str) -> float:
    """`value`, if it is greater than 0."""
    if not value > 0:
        raise ValueError(f"{name} must be greater than 0, found {value!r}")
    return value
