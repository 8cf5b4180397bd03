"""`python -m resnest` is the `resnest` command."""

import sys


def main() -> None:
    """Run the command; Ctrl-C ends it with 130 and without a traceback while it is loaded and while it ends, too.

    Before, while Python starts and imports the package itself, nothing of ours can catch it.
    """
    try:
        from resnest.cli import main as command

        command()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
