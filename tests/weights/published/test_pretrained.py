"""Published checkpoints, from a server on this machine that has small files under their names."""

import dataclasses
import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import resnest
import resnest.torch
from resnest import get_spec, weights
from resnest.specs.protocols import PROTOCOLS, Preparation
from resnest.weights.published import download, pretrained
from resnest.weights.seeded import draw_weights
from tests.support import cli
from tests.support.backends import Backend
from tests.support.server import serving

NARROW = {"stem_width": 8, "bottleneck_width": 8}


def content(tmp_path, suffix):
    """A small network's weights in a file of the format `suffix`."""
    path = tmp_path / f"weights{suffix}"
    weights.save(draw_weights(get_spec("resnest50", **NARROW)), path)
    return path.read_bytes()


def rows(source):
    return [row for row in pretrained.CHECKPOINTS if row.source == source]


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A server with resnest50 of the authors, whose address and hash the table has."""
    pth, params = content(tmp_path, ".pth"), content(tmp_path, ".params")
    packed = io.BytesIO()
    sha256, sha1 = hashlib.sha256(pth).hexdigest()[:8], hashlib.sha1(params).hexdigest()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(f"resnest50-{sha1[:8]}.params", params)
    table = tuple(
        pretrained._torch("resnest50", sha256, 81.03)
        if (row.variant, row.source) == ("resnest50", "authors-torch")
        else pretrained._gluon("resnest50", sha1, 81.04)
        if (row.variant, row.source) == ("resnest50", "authors-gluon")
        else row
        for row in pretrained.CHECKPOINTS
        if (row.variant, row.source) != ("resnest50", "timm")
    )
    for name in ("RESNEST_MIRROR", "RESNEST_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RESNEST_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(download, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(pretrained, "CHECKPOINTS", table)
    with serving() as server:
        monkeypatch.setattr(pretrained, "RELEASES", server.address)
        server.files[f"weights_step1/resnest50-{sha256}.pth"] = pth
        server.files[f"weights_step2/resnest50-{sha1[:8]}.zip"] = packed.getvalue()
        yield server


def test_every_variant_was_published_and_every_row_is_one_variants_from_one_source():
    assert {row.variant for row in pretrained.CHECKPOINTS} == set(resnest.list_models())
    assert len({(row.variant, row.source) for row in pretrained.CHECKPOINTS}) == len(pretrained.CHECKPOINTS) == 30
    assert {row.source for row in pretrained.CHECKPOINTS} == set(pretrained.SOURCES)
    assert len({row.address for row in pretrained.CHECKPOINTS}) == 30


@pytest.mark.parametrize(
    ("variant", "source", "address"),
    [
        ("resnest50", "authors-torch", "weights_step1/resnest50-528c19ca.pth"),
        ("resnest50_fast_4s2x40d", "authors-torch", "weights_step1/resnest50_fast_4s2x40d-41d14ed0.pth"),
        ("resnest269", "authors-gluon", "weights_step2/resnest269-11ae7f5d.zip"),
        ("resnest14", "timm", "timm/resnest14d.gluon_in1k/resolve/main/model.safetensors"),
    ],
)
def test_a_row_knows_its_address(variant, source, address):
    (row,) = pretrained.find(variant, source)
    assert row.address.endswith(address)
    assert row.address.startswith(("https://github.com/zhanghang1989/ResNeSt/releases/", "https://huggingface.co/"))


TOP1 = {  # of the authors' tables, in PyTorch and in Gluon
    "resnest50": (81.03, 81.04),
    "resnest101": (82.83, 82.81),
    "resnest200": (83.84, 83.88),
    "resnest269": (84.54, 84.53),
    "resnest50_fast_1s1x64d": (80.33, 80.35),
    "resnest50_fast_2s1x64d": (80.53, 80.65),
    "resnest50_fast_4s1x64d": (80.76, 80.90),
    "resnest50_fast_1s2x40d": (80.59, 80.72),
    "resnest50_fast_2s2x40d": (80.61, 80.84),
    "resnest50_fast_4s2x40d": (81.14, 81.17),
    "resnest50_fast_1s4x24d": (80.99, 80.97),
}


@pytest.mark.parametrize("variant", TOP1)
def test_a_row_has_the_accuracy_that_was_published(variant):
    found = [pretrained.find(variant, source)[0].top1 for source in ("authors-torch", "authors-gluon")]
    assert tuple(found) == TOP1[variant]


def test_hashes_are_whole():
    assert {len(row.hash) for row in rows("authors-torch")} == {8, 64}
    assert all(f"-{row.hash[:8]}." in row.name for row in (*rows("authors-torch"), *rows("authors-gluon")))
    assert {len(row.hash) for row in rows("authors-gluon")} == {40}


@pytest.mark.parametrize(
    ("variant", "source", "size", "resampling", "short_side"),
    [
        ("resnest50", "authors-torch", 224, "bicubic", None),
        ("resnest50", "authors-gluon", 224, "opencv-bilinear", 256),
        ("resnest50", "timm", 224, "bilinear", 256),
        ("resnest101", "authors-gluon", 256, "opencv-bilinear", 293),
        ("resnest200", "timm", 320, "bicubic", 352),
        ("resnest269", "authors-gluon", 416, "bicubic", None),
    ],
)
def test_a_row_knows_how_the_photo_was_prepared(variant, source, size, resampling, short_side):
    (row,) = pretrained.find(variant, source)
    assert row.preparation == Preparation(size, resampling, short_side)


def test_every_row_has_a_protocol_of_its_own_source():
    assert {row.source for row in pretrained.CHECKPOINTS} == set(PROTOCOLS)
    assert all(row.preparation.size == resnest.get_spec(row.variant).image_size for row in pretrained.CHECKPOINTS)


@pytest.mark.parametrize(
    ("path", "variant", "source"),
    [
        ("cache/resnest50-528c19ca.pth", "resnest50", "authors-torch"),
        ("resnest101-5da943b3.params", "resnest101", "authors-gluon"),
        ("resnest101-5da943b3.zip", "resnest101", "authors-gluon"),
        ("hub/models--timm--resnest26d.gluon_in1k/snapshots/1/model.safetensors", "resnest26", "timm"),
    ],
)
def test_a_published_file_is_known_by_its_name(path, variant, source):
    row = pretrained.published_as(path)
    assert (row.variant, row.source) == (variant, source)


@pytest.mark.parametrize("path", ["resnest50.pth", "model.safetensors", "resnest50-528c19ca.params"])
def test_another_file_is_not_taken_for_a_published_one(path):
    assert pretrained.published_as(path) is None


def test_a_row_knows_the_bytes_of_its_weights():
    spec = get_spec("resnest269")
    assert pretrained.find("resnest269")[0].weight_bytes == sum(array.nbytes for array in draw_weights(spec).values())


def test_timms_names_find_the_same_rows():
    assert pretrained.find("resnest50d_4s2x40d") == pretrained.find("resnest50_fast_4s2x40d")


def test_a_source_that_has_nothing_is_answered_with_those_that_have():
    with pytest.raises(ValueError, match=r"no weights of resnest14 from 'authors-torch'; .*timm"):
        pretrained.find("resnest14", "authors-torch")


@pytest.mark.gluon
@pytest.mark.parametrize("source", [True, "authors-torch", "authors-gluon"])
def test_one_download_serves_both_backends(server, source):
    held = []
    for backend in (Backend("torch"), Backend("gluon")):
        model = backend.module.create_model("resnest50", pretrained=source, **NARROW)
        held.append(backend.module.get_weights(model))
    assert len(server.requests) == 1
    expected = draw_weights(get_spec("resnest50", **NARROW))
    assert all((first[name] == array).all() for first in held for name, array in expected.items())


def test_a_builder_takes_pretrained_and_adapts_to_other_classes(server, backend):
    word = "classes" if backend.name == "gluon" else "num_classes"
    model = backend.module.resnest50(pretrained=True, in_channels=1, **{word: 5}, **NARROW)
    assert model.spec.num_classes == 5
    assert model.spec.in_channels == 1


def test_pretrained_and_weights_at_once_are_refused(backend):
    with pytest.raises(TypeError, match="resnest50 takes pretrained=True or weights, not both"):
        backend.module.create_model("resnest50", pretrained=True, weights="x.pth")


def test_a_misspelled_pretrained_is_a_type_error_that_names_it():
    with pytest.raises(TypeError, match="no argument 'pretraind'; did you mean pretrained"):
        resnest.torch.resnest50(pretraind=True)


def test_root_is_where_files_are_kept(server, tmp_path):
    path = pretrained.download("resnest50", root=tmp_path / "mine")
    assert path.parent == tmp_path / "mine"
    assert pretrained.download("resnest50").parent == tmp_path / "home"


def test_the_mirror_is_asked_first_and_its_files_lie_side_by_side(server, monkeypatch):
    server.files = {f"mirror/{path.partition('/')[2]}": file for path, file in server.files.items()}
    monkeypatch.setenv("RESNEST_MIRROR", f"{server.address}/mirror/")
    for source in ("authors-torch", "authors-gluon"):
        pretrained.download("resnest50", source)
    assert [path for path, _ in server.requests] == [f"/{path}" for path in server.files]


def test_a_mirror_that_lacks_the_file_or_has_another_is_passed_over(server, monkeypatch):
    monkeypatch.setenv("RESNEST_MIRROR", f"{server.address}/mirror")
    pretrained.download("resnest50", "authors-gluon")
    name = pretrained.find("resnest50", "authors-torch")[0].name
    server.files[f"mirror/{name}"] = b"<html>please log in</html>"
    assert pretrained.download("resnest50", "authors-torch").stat().st_size > 1000


def test_when_one_source_fails_the_next_is_tried(server):
    server.files = {path: file for path, file in server.files.items() if "step2" in path}
    assert pretrained.download("resnest50").suffix == ".params"


def test_when_all_fail_the_error_lists_every_address_and_how_to_use_a_file(server, monkeypatch):
    server.files = {}
    monkeypatch.setenv("RESNEST_MIRROR", f"{server.address}/mirror")
    with pytest.raises(OSError, match="no published weights of resnest50 could be had") as caught:
        resnest.torch.resnest50(pretrained=True)
    assert all(f"{server.address}{path}: 404 Not Found" in str(caught.value) for path, _ in server.requests)
    assert len(server.requests) == 4
    assert 'create_model("resnest50", weights="FILE")' in str(caught.value)


def test_offline_uses_what_is_there_and_asks_nobody(server, monkeypatch):
    path = pretrained.download("resnest50", "authors-gluon")
    asked = list(server.requests)
    monkeypatch.setenv("RESNEST_OFFLINE", "1")
    assert pretrained.download("resnest50") == path
    with pytest.raises(OSError, match=r"it is not in .*home, and RESNEST_OFFLINE forbids to download it"):
        pretrained.download("resnest50", "authors-torch")
    assert server.requests == asked
    monkeypatch.setenv("RESNEST_OFFLINE", "0")
    assert pretrained.download("resnest50").suffix == ".pth"


def test_without_pytorch_a_pth_file_is_passed_over(server, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert pretrained.download("resnest50").suffix == ".params"
    with pytest.raises(OSError, match=r"a \.pth file needs PyTorch: pip install 'resnest\[torch\]'"):
        pretrained.download("resnest50", "authors-torch")


def test_a_full_disk_ends_the_search(server, monkeypatch):
    def full(part, chunk):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(download.Part, "write", full)
    with pytest.raises(OSError, match="cannot be written: No space left on device"):
        pretrained.download("resnest50")
    assert len(server.requests) == 1


HUB = """
import json, sys
from resnest.weights.published import pretrained
try:
    print(pretrained.download("resnest14", root=sys.argv[1], verify=len(sys.argv) > 2))
except OSError as error:
    print(error)
"""


@pytest.fixture
def hub(server, tmp_path):
    """A server that speaks enough of the hub's protocol, in whose place the library is pointed by HF_ENDPOINT."""
    spec = get_spec("resnest14", **NARROW)
    weights.save(draw_weights(spec), tmp_path / "model.safetensors")
    file = (tmp_path / "model.safetensors").read_bytes()
    path = "timm/resnest14d.gluon_in1k/resolve/main/model.safetensors"
    server.files[path] = file
    server.headers = {"X-Repo-Commit": "0" * 40, "ETag": f'"{hashlib.sha256(file).hexdigest()}"'}

    def ask(root, *verify, **environment):
        settings = {"HF_ENDPOINT": server.address, "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        done = subprocess.run(
            [sys.executable, "-c", HUB, str(root), *verify],
            env=os.environ | settings | environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    return server, ask, file


def test_a_file_on_the_hub_is_downloaded_once_and_kept_in_root(hub, tmp_path):
    _, ask, file = hub
    path = ask(tmp_path / "root")
    assert path.startswith(str(tmp_path / "root" / "hub"))
    assert Path(path).read_bytes() == file
    assert ask(tmp_path / "root", RESNEST_OFFLINE="1") == path


def test_a_machine_stays_with_the_commit_that_it_has_of_the_hub(hub, tmp_path):
    server, ask, _ = hub
    path = ask(tmp_path / "root")
    asked = list(server.requests)
    server.files = dict.fromkeys(server.files, b"another")
    server.headers = {"X-Repo-Commit": "1" * 40, "ETag": '"another"'}
    assert ask(tmp_path / "root") == path
    assert server.requests == asked


def test_a_damaged_file_of_the_hub_is_found_out_on_request_and_downloaded_again(hub, tmp_path):
    _, ask, file = hub
    path = Path(ask(tmp_path / "root"))
    path.write_bytes(file[:-1] + b"!")
    assert "is damaged, and RESNEST_OFFLINE forbids" in ask(tmp_path / "root", "verify", RESNEST_OFFLINE="1")
    assert Path(ask(tmp_path / "root", "verify")).read_bytes() == file


def test_a_download_from_the_hub_is_gone_on_with_after_a_cut(hub, tmp_path):
    server, ask, file = hub
    server.cuts = [len(file) // 2]
    assert Path(ask(tmp_path / "root")).read_bytes() == file
    assert server.cuts == []


def test_a_hub_that_lacks_the_file_is_named(hub, tmp_path):
    server, ask, _ = hub
    server.files = {}
    message = ask(tmp_path / "root")
    assert "timm/resnest14d.gluon_in1k/resolve/main/model.safetensors: " in message
    assert 'create_model("resnest14", weights="FILE")' in message
    assert "RESNEST_OFFLINE" not in message


def test_the_command_downloads_and_says_where(server, tmp_path):
    done = cli.run("download", "resnest50", "--root", str(tmp_path / "there"))
    assert done.exit_code == 0
    assert done.stdout.strip() == str(tmp_path / "there" / pretrained.find("resnest50")[0].file)


def test_the_command_finds_a_damaged_file_on_request_and_downloads_it_again(server, tmp_path):
    path = pretrained.download("resnest50", root=tmp_path)
    whole, state = path.read_bytes(), path.stat()
    path.write_bytes(whole[:-1] + b"!")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    done = cli.run("download", "resnest50", "--verify", "--root", str(tmp_path))
    assert (done.exit_code, done.stdout.strip()) == (0, str(path))
    assert path.read_bytes() == whole


def test_a_file_of_another_size_than_it_had_is_downloaded_again_or_named(server, monkeypatch):
    path = pretrained.download("resnest50", "authors-torch")
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    monkeypatch.setenv("RESNEST_OFFLINE", "1")
    with pytest.raises(OSError, match=r"another .*\.pth than the published one is in .*, and RESNEST_OFFLINE"):
        pretrained.download("resnest50", "authors-torch")
    monkeypatch.delenv("RESNEST_OFFLINE")
    assert pretrained.download("resnest50", "authors-torch").read_bytes() == whole


def test_the_command_answers_a_failure_with_every_address(server):
    server.files = {}
    done = cli.run("download", "resnest50")
    assert done.exit_code == 2
    assert done.stderr.count("404 Not Found") == 2


def test_what_a_download_needs_is_not_loaded_before_there_is_one():
    code = (
        "import sys, resnest, resnest.cli, resnest.weights;"
        "print(*[name for name in ('filelock', 'huggingface_hub', 'urllib.request') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_the_table_can_be_printed_as_data():
    assert json.loads(json.dumps([dataclasses.asdict(row) for row in pretrained.CHECKPOINTS]))
    assert np.isfinite([row.top1 for row in pretrained.CHECKPOINTS if row.top1]).all()
