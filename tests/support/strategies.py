"""Arbitrary valid specs, small ones."""

from __future__ import annotations

import hypothesis.strategies as st

from resnest import ResNeStSpec
from resnest.specs.resnest import DILATED_POOLING


@st.composite
def specs(draw: st.DrawFn) -> ResNeStSpec:
    radix = draw(st.sampled_from([1, 2, 4]))
    cardinality = draw(st.sampled_from([1, 2, 4]))
    return ResNeStSpec(
        "any",
        (draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(st.integers(1, 3)), 1),
        radix=radix,
        cardinality=cardinality,
        bottleneck_width=4 * draw(st.integers(1, 3)),
        deep_stem=draw(st.booleans()),
        stem_width=draw(st.integers(1, 8)),
        avg_down=draw(st.booleans()),
        avd=draw(st.booleans()),
        avd_first=draw(st.booleans()),
        output_stride=draw(st.sampled_from([32, 16, 8])),
        dilated_pooling=draw(st.sampled_from(DILATED_POOLING)),
        in_channels=draw(st.integers(1, 4)),
        num_classes=draw(st.integers(0, 7)),
    )
