"""Weights without any framework: a dict of NumPy arrays under canonical names, and every file and name that holds one.

Imports: specs and NumPy.
"""

from resnest.weights.recognition.check import check
from resnest.weights.recognition.tasks import recognise
from resnest.weights.store import convert, dialect_of, load, save

__all__ = ["check", "convert", "dialect_of", "load", "recognise", "save"]
