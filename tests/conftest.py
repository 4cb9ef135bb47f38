"""Settings that hold for every test."""

import os

# Small tensors: a second thread costs more than it gives, above all on a busy machine. Before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
