from resnest.weights.names.patterns import rename


def test_a_row_reads_both_ways_and_counts():
    row = ("layer{stage}.{block}.conv3", "layers{stage}_conv{5*block+4}")
    assert rename("layer3.7.conv3", [row]) == "layers3_conv39"
    assert rename("layers3_conv39", [row[::-1]]) == "layer3.7.conv3"
    assert rename("layers3_conv38", [row[::-1]]) == "layers3_conv38"  # in no row
    assert rename("layers3_conv3", [row[::-1]]) == "layers3_conv3"  # would be before the first block
