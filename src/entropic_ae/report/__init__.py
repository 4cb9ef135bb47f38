"""Reports: tables, charts and one HTML page from run folders. Only files are read, never a model."""

from entropic_ae.report.page import write_report
from entropic_ae.report.tables import distance_rows

__all__ = ["distance_rows", "write_report"]
