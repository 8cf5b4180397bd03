"""`python -m resnest` is the `resnest` command."""

import sys


def main() -> None:
    """Run the command; Ctrl-C ends it with 130 and without a traceback while its own files are still loaded, too."""
    try:
        from resnest.cli import main as command
    except KeyboardInterrupt:
        sys.exit(130)
    command()


if __name__ == "__main__":
    main()
