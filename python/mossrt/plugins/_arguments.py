"""Checks that the plugins share."""

from __future__ import annotations


def text(value: str, name: str) -> str:
    """`value`, if it is a str."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be str, found {type(value).__name__}")
    return value


def positive(value: float, name: str) -> float:
    """`value`, if it is greater than 0."""
    if not value > 0:
        raise ValueError(f"{name} must be greater than 0, found {value!r}")
    return value
