import dataclasses
import hashlib
import json

import numpy as np
from safetensors.numpy import save_file

from resnest import weights
from resnest.weights.published import pretrained
from resnest.weights.seeded import draw_weights
from tests.support.cli import refused, run
from tests.support.specs import tiny


def test_it_says_what_a_file_is(tmp_path):
    weights.save(draw_weights(tiny()), tmp_path / "a.params")
    result = run("inspect", tmp_path / "a.params")
    assert result.exit_code == 0, result.output
    lines = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert (lines["dialect"], lines["classes"], lines["form"]) == ("gluon", "5", "training form")
    assert lines["sha256"] == hashlib.sha256((tmp_path / "a.params").read_bytes()).hexdigest()


def test_a_part_of_a_network_is_told_with_status_1(tmp_path):
    drawn = draw_weights(tiny())
    del drawn["fc.bias"]
    save_file(drawn, tmp_path / "a.safetensors")
    result = run("inspect", tmp_path / "a.safetensors", "--json")
    assert result.exit_code == 1
    assert "fc.bias" in json.loads(result.stdout)["complaint"]


def test_a_name_in_a_file_is_told_as_it_is(tmp_path):
    save_file(draw_weights(tiny()) | {"[red]head[/].weight": np.ones(3, "f4")}, tmp_path / "a.safetensors")
    assert "[red]head[/].weight" in run("inspect", tmp_path / "a.safetensors").stdout


def test_a_published_file_is_known_by_its_hash(tmp_path, monkeypatch):
    path = tmp_path / "renamed.safetensors"
    weights.save(draw_weights(tiny()), path)
    row = pretrained.find("resnest50", "authors-torch")[0]
    row = dataclasses.replace(row, hash=hashlib.sha256(path.read_bytes()).hexdigest()[:8])
    monkeypatch.setattr(pretrained, "CHECKPOINTS", (row,))
    assert json.loads(run("inspect", path, "--json").stdout)["published as"] == "resnest50 of authors-torch"


def test_of_a_folder_the_weights_in_it_are_told_as_every_command_takes_them(tmp_path):
    weights.save(draw_weights(tiny()), tmp_path / "best.safetensors")
    found = json.loads(run("inspect", tmp_path, "--json").stdout)
    assert found["file"] == str(tmp_path / "best.safetensors")


def test_bad_input_is_one_sentence(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"PK")
    assert "it is no zip file, or it is cut off" in refused(run("inspect", tmp_path / "a.npz"))
    assert "there is no weight file" in refused(run("inspect", tmp_path / "b.npz"))
