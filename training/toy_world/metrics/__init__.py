"""What clips of the toy world are worth: exact measures, each with a truth and a floor."""

from .report import COLUMNS, Reference, floor, measure

__all__ = ["COLUMNS", "Reference", "floor", "measure"]
