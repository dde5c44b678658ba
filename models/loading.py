"""Errors of loading a model: one line for the user."""

from __future__ import annotations


class ModelError(Exception):
    """One line for the user: which model, what is wrong, and the fix."""
