import pytest

from resnest.weights.names.patterns import rename


@pytest.mark.parametrize(
    ("row", "pairs"),
    [
        (("layer{stage}.{block}.bn1", "res{stage+1}.{block}.norm"), {"layer1.0.bn1": "res2.0.norm"}),
        (("layer{stage}.{block}.conv3", "layers{stage}_conv{5*block+4}"), {"layer3.7.conv3": "layers3_conv39"}),
        (("stem.{index}", "conv{3*index}"), {"stem.0": "conv0", "stem.12": "conv36"}),
        (("stage{stage}.{rest...}", "{rest...}.of.{stage}"), {"stage2.0.conv2.fc1": "0.conv2.fc1.of.2"}),
        (("a.b", "c"), {"a.b": "c"}),
    ],
)
def test_a_row_reads_both_ways_and_counts(row, pairs):
    for source, target in pairs.items():
        assert rename(source, [row]) == target
        assert rename(target, [row[::-1]]) == source


@pytest.mark.parametrize(
    ("row", "name"),
    [
        (("layers{stage}_conv{5*block+4}", "found"), "layers3_conv38"),  # no fifth and four
        (("layers{stage}_conv{5*block+4}", "found"), "layers3_conv3"),  # would be before the first block
        (("res{stage+1}", "found"), "resA"),  # no number
        (("res{stage+1}", "found"), "res1234567"),  # more digits than any network's
        (("layer{stage}.{block}", "found"), "layer1.0.conv1"),  # a word is one part of a name
        (("layer{stage}", "found"), "my.layer1"),
        (("layer{stage}.", "found"), "layer1x"),  # a full stop is one, not any character
        (("layer{stage}{rest...}", "found"), "layer1"),  # the rest is at least something
    ],
)
def test_a_name_that_does_not_fit_keeps_its_own(row, name):
    assert rename(name, [row]) == name


def test_the_first_row_that_fits_counts():
    rows = [("conv1.{index}", "stem.{index}"), ("conv1.0", "never"), ("{any...}", "rest.{any...}")]
    assert [rename(name, rows) for name in ("conv1.0", "fc")] == ["stem.0", "rest.fc"]
