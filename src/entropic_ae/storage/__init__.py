"""Storage: atomic files, tensors, JSON, the log and the run folder. torch is not imported with it."""

__all__: list[str] = []
