"""Predictions with error bars that hold: the library under the starstack workflow."""

__version__ = "0.1.0"
