"""The published checkpoints: where each one is, how it is verified, and what it reached.

The authors published every network twice, trained once in PyTorch and once in MXNet Gluon; timm
publishes the authors' PyTorch weights under its own names, and two smaller networks of GluonCV's.
Any of these files opens in both backends.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import re
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from resnest.specs import protocols
from resnest.specs.arguments import closest
from resnest.specs.published import get_spec
from resnest.weights.published.download import UNTRUSTED, fetch, progress_bar
from resnest.weights.published.hub import hub_file
from resnest.weights.published.part import Unavailable
from resnest.weights.published.verified import Hash, digest, verified

logger = logging.getLogger(__name__)

RELEASES = "https://github.com/zhanghang1989/ResNeSt/releases/download"
HUB = "https://huggingface.co"

SOURCES = ("authors-torch", "timm", "authors-gluon")
"""Who published a checkpoint, in the order in which they are tried: timm's is the authors' own again."""


@dataclass(frozen=True)
class Checkpoint:
    """One published file.

    `name` is the file's, or that of timm's repository on the Hugging Face hub, of which `revision` is
    the commit, tag or branch. `hash` is the SHA-256 (authors-torch: its first digits where no more
    are known) or the SHA-1 (authors-gluon) of the weight file; the hub has its own. `top1` is the
    published accuracy on ImageNet in percent, where one was published for this very file, of photos
    prepared as `preparation` says.
    """

    variant: str
    source: str
    name: str
    hash: str = ""
    top1: float | None = None
    revision: str = "main"

    @property
    def address(self) -> str:
        if self.source == "timm":
            return f"{HUB}/timm/{self.name}/resolve/{self.revision}/model.safetensors"
        step = "weights_step1" if self.source == "authors-torch" else "weights_step2"
        return f"{RELEASES}/{step}/{self.name}"

    @property
    def file(self) -> str:
        """The name of the weight file; the authors' MXNet files come in a zip."""
        return "model.safetensors" if self.source == "timm" else self.name.replace(".zip", ".params")

    @property
    def expected(self) -> Hash:
        """What the weight file is verified by."""
        return Hash("sha256" if self.source == "authors-torch" else "sha1", self.hash)

    @property
    def weight_bytes(self) -> int:
        """Bytes of the weights alone, from the spec; names and headers come on top, under 1 % of it."""
        return 4 * sum(prod(shape) for shape in get_spec(self.variant).tensors().values())

    @property
    def protocol(self) -> str:
        """The evaluation protocol that the file's accuracy was published with: that of who published it."""
        return self.source

    @property
    def preparation(self) -> protocols.Preparation:
        """How photos were prepared for that accuracy, at the published size."""
        return protocols.preparation(self.protocol, get_spec(self.variant).image_size, self.variant)


def _torch(variant: str, sha256: str, top1: float) -> Checkpoint:
    return Checkpoint(variant, "authors-torch", f"{variant}-{sha256[:8]}.pth", sha256, top1)


def _gluon(variant: str, sha1: str, top1: float) -> Checkpoint:
    return Checkpoint(variant, "authors-gluon", f"{variant}-{sha1[:8]}.zip", sha1, top1)


def _timm(variant: str, name: str, top1: float | None = None) -> Checkpoint:
    return Checkpoint(variant, "timm", name, top1=top1)


CHECKPOINTS = (
    _torch("resnest50", "528c19ca6509420548c8359f63ff37975e7d92f42eaf72a7af152a015c8ef48c", 81.03),
    _torch("resnest101", "22405ba7", 82.83),
    _torch("resnest200", "75117900", 83.84),
    _torch("resnest269", "0cc87c48", 84.54),
    _torch("resnest50_fast_1s1x64d", "d8fbf808", 80.33),
    _torch("resnest50_fast_2s1x64d", "44938639", 80.53),
    _torch("resnest50_fast_4s1x64d", "f74f3fc3", 80.76),
    _torch("resnest50_fast_1s2x40d", "32830b84", 80.59),
    _torch("resnest50_fast_2s2x40d", "9d126481", 80.61),
    _torch("resnest50_fast_4s2x40d", "41d14ed0", 81.14),
    _torch("resnest50_fast_1s4x24d", "d4a4f76f", 80.99),
    _timm("resnest14", "resnest14d.gluon_in1k", 75.51),
    _timm("resnest26", "resnest26d.gluon_in1k", 78.48),
    _timm("resnest50", "resnest50d.in1k"),
    _timm("resnest101", "resnest101e.in1k"),
    _timm("resnest200", "resnest200e.in1k"),
    _timm("resnest269", "resnest269e.in1k"),
    _timm("resnest50_fast_4s2x40d", "resnest50d_4s2x40d.in1k"),
    _timm("resnest50_fast_1s4x24d", "resnest50d_1s4x24d.in1k"),
    _gluon("resnest50", "bcfefe1dd1dd1ef5cfed5563123c1490ea37b42e", 81.04),
    _gluon("resnest101", "5da943b3230f071525a98639945a6b3b3a45ac95", 82.81),
    _gluon("resnest200", "0c5d117df664ace220aa6fc2922c094bb079d381", 83.88),
    _gluon("resnest269", "11ae7f5da2bcdbad05ba7e84f9b74383e717f3e3", 84.53),
    _gluon("resnest50_fast_1s1x64d", "5e16dbe56f1fba8e1bc2faddd91f874bfbd74193", 80.35),
    _gluon("resnest50_fast_2s1x64d", "85eb779a5e313d74b5e5390dae02aa8082a0f469", 80.65),
    _gluon("resnest50_fast_4s1x64d", "3f215532c6d8e07a10df116309993d4479fc3e4b", 80.90),
    _gluon("resnest50_fast_1s2x40d", "af3514c2ec757a3a9666a75b82f142ed47d55bee", 80.72),
    _gluon("resnest50_fast_2s2x40d", "2db13245aa4967cf5e8617cb4911880dd41628a4", 80.84),
    _gluon("resnest50_fast_4s2x40d", "b24d515797832e02da4da9c8a15effd5e44cfb56", 81.17),
    _gluon("resnest50_fast_1s4x24d", "7318153ddb5e542a20cc6c58192f3c6209cff9ed", 80.97),
)
"""Every published ImageNet checkpoint."""


def find(name: str, source: str | None = None) -> list[Checkpoint]:
    """The checkpoints of the network called `name`, in the order to try; those of one `source`, where it is given.

    Raises ValueError for a source that has none.
    """
    variant = get_spec(name).name
    rows = [row for wanted in SOURCES for row in CHECKPOINTS if (row.variant, row.source) == (variant, wanted)]
    found = [row for row in rows if source in (None, row.source)]
    if not found:
        raise ValueError(
            f"there are no weights of {variant} from {source!r}; {closest(str(source), [row.source for row in rows])}"
        )
    return found


def published_as(path: str | os.PathLike) -> Checkpoint | None:
    """The published checkpoint that the file at `path` is called like, where it is one of `CHECKPOINTS`' files.

    The authors' files carry their hash in their name; timm's are told by their folder in the hub's cache.
    """
    path = Path(path)
    for row in CHECKPOINTS:
        folder = f"models--timm--{row.name}" if row.source == "timm" else None
        if path.name in (row.file, row.name) and (folder is None or folder in path.parts):
            return row
    return None


def protocol_of(path: str | os.PathLike | None) -> str:
    """The evaluation protocol of the weights at `path`: their own where they are published ones, else the first."""
    row = None if path is None else published_as(path)
    return row.protocol if row else protocols.DEFAULT


def download(
    name: str, source: str | None = None, *, root: str | os.PathLike | None = None, verify: bool = False
) -> Path:
    """The local file with published weights of the network called `name`, downloaded where it is not there yet.

    `root` is the folder to keep files in; without it RESNEST_HOME, or `~/.cache/resnest` (and for
    files on the hub the cache that all libraries share). RESNEST_MIRROR is the address of a folder
    with the authors' files, which is tried first; the hub's mirror is HF_ENDPOINT, as everywhere.
    RESNEST_OFFLINE=1 forbids to use the network. A terminal shows a progress bar.

    A file that is there is known by its size and the time of its last change; with `verify` it is
    read to its last byte. One that is damaged is downloaded again.

    Raises ValueError for a source that has no such weights, and OSError, listing every address
    tried, where none gives them.
    """
    failures = []
    for row in find(name, source):
        for address in _addresses(row):
            try:
                path = _get(row, address, root, verify)
            except Unavailable as error:
                failures.append(f"  {error}")
            else:
                logger.info("%s: weights of %s, %s", row.variant, row.source, path)
                return path
    variant = get_spec(name).name
    raise OSError(
        "\n".join([f"no published weights of {variant} could be had; tried were", *failures])
        + f'\nOnce you have one of these files, create_model("{variant}", weights="FILE") takes it.'
    )


def _addresses(row: Checkpoint) -> list[str]:
    """Where to look for a checkpoint: the mirror, then where it was published."""
    mirror = os.environ.get("RESNEST_MIRROR")
    return [f"{mirror.rstrip('/')}/{row.name}", row.address] if mirror and row.hash else [row.address]


def _get(row: Checkpoint, address: str, root: str | os.PathLike | None, verify: bool) -> Path:
    if row.file.endswith(".pth") and importlib.util.find_spec("torch") is None:
        raise Unavailable(f"{address}: a .pth file needs PyTorch: pip install 'resnest[torch]'")
    if row.source == "timm":
        return _from_hub(row, root, verify)
    target = home(root) / row.file
    if verified(target, row.expected, fully=verify):
        return target
    state = "it is not in" if not target.is_file() else f"another {target.name} than the published one is in"
    if offline():
        raise Unavailable(f"{address}: {state} {target.parent}, and RESNEST_OFFLINE forbids to download it")
    if target.is_file():
        logger.warning("%s %s: it is downloaded again", state, target.parent)
    logger.info("downloading %s", address)
    with progress_bar(row.name) as progress:
        return fetch(address, target, row.expected, progress)


def _from_hub(row: Checkpoint, root: str | os.PathLike | None, verify: bool) -> Path:
    """The file in the hub's own cache: its library resumes, verifies and locks as `fetch` does.

    What is there is taken, so that a machine stays with the commit that it has downloaded.
    """
    there = on_hub(row, root)
    damaged = there is not None and verify and not as_on_hub(there)
    if there is not None and not damaged:
        return there
    if damaged and offline():
        raise Unavailable(f"{row.address}: {there} is damaged, and RESNEST_OFFLINE forbids to download it")
    try:
        path = hub_file(*_in_hub(row), **_hub_cache(row, root), force_download=damaged, local_files_only=offline())
    except Exception as error:  # errors of its HTTP library come through, and it has had three of those
        said = " ".join(str(error).split())
        raise Unavailable(f"{row.address}: {UNTRUSTED if 'CERTIFICATE_VERIFY_FAILED' in said else said}") from error
    return Path(path)


def on_hub(row: Checkpoint, root: str | os.PathLike | None = None) -> Path | None:
    """Where the hub's cache has a file of the hub; None where it has not."""
    from huggingface_hub import try_to_load_from_cache

    there = try_to_load_from_cache(*_in_hub(row), **_hub_cache(row, root))
    return Path(there) if isinstance(there, str) else None


def _in_hub(row: Checkpoint) -> tuple[str, str]:
    """The repository of a file of the hub, and its name in there."""
    return f"timm/{row.name}", row.file


def _hub_cache(row: Checkpoint, root: str | os.PathLike | None) -> dict[str, Any]:
    cache = home(root) / "hub" if root or os.environ.get("RESNEST_HOME") else None
    return {"revision": row.revision, "cache_dir": cache}


def as_on_hub(path: Path) -> bool:
    """Whether a file in the hub's cache has the SHA-256 that its blob is called by."""
    blob = path.resolve()
    if not re.fullmatch("[0-9a-f]{64}", blob.name):  # a cache without links: the hub is to say it again
        return False
    return digest(blob, "sha256") == blob.name


def home(root: str | os.PathLike | None = None) -> Path:
    """The folder that files are kept in."""
    return Path(root or os.environ.get("RESNEST_HOME") or "~/.cache/resnest").expanduser()


def offline() -> bool:
    """Whether RESNEST_OFFLINE forbids to use the network."""
    return os.environ.get("RESNEST_OFFLINE", "0") not in ("", "0")
