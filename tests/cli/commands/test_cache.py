import json

from resnest.weights.published import pretrained
from tests.support.cli import refused, run


def test_files_are_listed_verified_and_removed(tmp_path):
    row = pretrained.find("resnest50", "authors-torch")[0]
    (tmp_path / row.file).write_bytes(b"damaged")
    words = ["cache", "resnest50*", "--root", tmp_path, "--json"]
    (one,) = json.loads(run(*words).stdout)
    assert (one["model"], one["bytes"], one["state"]) == ("resnest50", 7, "whole")
    assert one["path"] == str(tmp_path / row.file)
    result = run(*words, "--verify")
    assert result.exit_code == 1
    assert json.loads(result.stdout)[0]["state"] == "damaged"
    assert json.loads(run("cache", "resnest101", "--root", tmp_path, "--json").stdout) == []
    assert "--remove deletes what a pattern fits" in refused(run("cache", "--root", tmp_path, "--remove"))
    assert "removed" in run("cache", "resnest50*", "--root", tmp_path, "--remove").stdout
    assert "nothing is there" in run("cache", "--root", tmp_path).stdout


def test_only_what_is_damaged_is_removed_where_it_is_verified(tmp_path, monkeypatch):
    row = pretrained.find("resnest50", "authors-torch")[0]
    (tmp_path / row.file).write_bytes(b"fine")
    monkeypatch.setattr("resnest.weights.published.cache.damaged", lambda one: False)
    assert run("cache", "*", "--root", tmp_path, "--verify", "--remove").exit_code == 0
    assert (tmp_path / row.file).exists()
