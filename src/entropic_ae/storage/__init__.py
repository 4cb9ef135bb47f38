"""What lies on a disk: files written atomically, tensors, JSON, the log and the run folder. No torch at import."""

__all__: list[str] = []
