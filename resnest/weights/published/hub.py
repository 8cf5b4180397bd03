"""One file of the Hugging Face hub, fetched by the hub's own library."""

from __future__ import annotations

from typing import Any

CUTS = 5
"""So many cuts in a row are gone on after."""


def hub_file(repository: str, file: str, **where: Any) -> str:
    """The path of `file` in the hub's cache, downloaded where it is not there; `where` as `hf_hub_download` takes it.

    Raises what the hub's library raises.
    """
    from huggingface_hub import hf_hub_download

    for _ in range(CUTS):
        try:
            return hf_hub_download(repository, file, **where)
        except Exception as error:
            # That of requests, with which huggingface_hub below 1.0 keeps what has come and gives up; asked
            # again it goes on from there. Above, it does so itself.
            if type(error).__name__ != "ChunkedEncodingError":
                raise
    return hf_hub_download(repository, file, **where)
