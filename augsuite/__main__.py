"""`python -m augsuite`."""

from augsuite.cli import main

main()
