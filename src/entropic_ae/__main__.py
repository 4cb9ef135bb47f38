"""``python -m entropic_ae`` is the command line."""

from entropic_ae.cli import main

main()
