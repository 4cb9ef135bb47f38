"""Settings that hold for every test."""

import os

# Small tensors: a second thread costs more than it gives, above all on a busy machine. Before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from hypothesis import Phase, settings

PHASES = (Phase.explicit, Phase.generate, Phase.shrink)  # no tracing of lines for an explanation
# The same examples each time, so that a failure is a change's; "search" draws others, and many more.
settings.register_profile("suite", max_examples=25, derandomize=True, deadline=None, database=None, phases=PHASES)
settings.register_profile("search", max_examples=2000, deadline=None, database=None, phases=PHASES)
settings.load_profile("suite")
