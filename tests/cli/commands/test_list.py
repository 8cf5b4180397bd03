import json

import resnest
from tests.support.cli import refused, run


def test_list_shows_every_network():
    output = run("list").output
    assert all(name in output for name in resnest.list_models())
    assert "110.9 M" in output
    assert "77.3 G" in output


def test_list_shows_the_segmentation_networks():
    assert "fcn_resnest101_ade20k_ssseg" in "".join(run("list").output.split())


def test_a_pattern_chooses():
    output = run("list", "*50_fast_*").output
    assert "resnest50_fast_1s1x64d" in output
    assert "resnest101" not in output
    assert "for segmentation" not in output
    assert run("list", "fcn*").output.startswith("for segmentation: fcn_resnest101")
    assert "did you mean resnest50" in refused(run("list", "resnest51"))


def test_as_json_with_costs():
    found = json.loads(run("list", "*resnest50*", "--json").stdout)
    rows = {row["name"]: row for row in found["classification"]}
    assert rows["resnest50"]["parameters"] == resnest.get_spec("resnest50").cost(224).parameters
    assert {row["name"] for row in found["detection"]} == {
        name for name in resnest.list_detection_models() if "resnest50" in name
    }
    assert found["segmentation"] == []


def test_published_weights_with_accuracy_and_address():
    rows = json.loads(run("list", "resnest50", "--pretrained", "--json").stdout)
    assert [(row["source"], row["top1"]) for row in rows] == [
        ("authors-torch", 81.03),
        ("timm", None),
        ("authors-gluon", 81.04),
    ]
    shown = run("list", "resnest50", "--pretrained").stdout
    assert all(row["address"] in shown for row in rows)
