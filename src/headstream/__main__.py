"""`python -m headstream` is the `headstream` command."""

from headstream.cli import main

main()
