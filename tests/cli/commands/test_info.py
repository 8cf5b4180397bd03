import pytest

from resnest import get_spec
from tests.support.cli import refused, run


def test_info_knows_the_segmentation_networks():
    found = run("info", "deeplabv3_resnest101_voc", "--size", 64)
    assert found.exit_code == 0, found.output
    assert "21x8x8" in found.output
    assert "auxiliary_head" in found.output


def test_info_shows_stages_shapes_and_costs():
    output = run("info", "resnest50", "--size", 256).output
    assert "2048x8x8" in output
    assert "27,483,240" in output
    assert f"{get_spec('resnest50').cost(256).macs:,}" in output
    assert "2048x32x32" in run("info", "resnest50", "--size", 256, "--output-stride", 8).output


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["resnest5O"], "no model called 'resnest5O'; did you mean resnest50"),
        (
            ["resnest50", "--size", "16"],
            "16x16 pixels is too small for resnest50 at output stride 32: give at least 17x17",
        ),
        (["resnest50", "--output-stride", "12"], "output_stride=12 must be 32, 16 or 8"),
    ],
)
def test_bad_input_is_one_sentence_and_status_2(arguments, sentence):
    assert sentence in refused(run("info", *arguments))
