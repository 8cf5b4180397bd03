"""How far the work is, on the terminal's standard error."""

from __future__ import annotations

from rich import progress


class Progress(progress.Progress):
    """Rich's, which writes nothing where it is disabled: up to 14.1 an empty line came before what is said next."""

    def stop(self) -> None:
        if not self.disable:
            super().stop()
