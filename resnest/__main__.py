"""`python -m resnest` is the `resnest` command."""

from resnest.cli import main

main()
