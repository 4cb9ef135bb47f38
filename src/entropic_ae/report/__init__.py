"""Reports: tables, charts and one HTML page from run folders. Only files are read, never a model."""

from entropic_ae.report.page import write_report
from entropic_ae.report.tables import (
    accuracy_text,
    closer_text,
    distance_rows,
    few_text,
    frechet_text,
    kernel_text,
    multiple,
    multiple_text,
    withheld_text,
)

__all__ = [
    "accuracy_text",
    "closer_text",
    "distance_rows",
    "few_text",
    "frechet_text",
    "kernel_text",
    "multiple",
    "multiple_text",
    "withheld_text",
    "write_report",
]
