import resnest
from tests.support.cli import run


def test_list_shows_every_network():
    output = run("list").output
    assert all(name in output for name in resnest.list_models())
    assert "110.9 M" in output
    assert "77.3 G" in output


def test_list_shows_the_segmentation_networks():
    assert "fcn_resnest101_ade20k_ssseg" in "".join(run("list").output.split())
