"""The `resnest` command: options in, tables and exit statuses out. Nothing imports this floor."""

from resnest.cli.group import main

__all__ = ["main"]
