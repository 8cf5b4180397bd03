"""What huggingface_hub below 1.0 does after a cut: it keeps what has come, and goes on when it is asked again."""

import huggingface_hub
import pytest

from resnest.weights.published.hub import CUTS, hub_file


class ChunkedEncodingError(OSError):
    """As requests calls it."""


@pytest.fixture
def asked(monkeypatch):
    """The files that were asked for, and the errors to answer with first."""
    asked, errors = [], []

    def hf_hub_download(repository, file, **where):
        asked.append((repository, file, where))
        if errors:
            raise errors.pop()
        return "path"

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", hf_hub_download)
    return asked, errors


def test_a_cut_is_gone_on_after(asked):
    calls, errors = asked
    errors += [ChunkedEncodingError(), ChunkedEncodingError()]
    assert hub_file("timm/net", "model.safetensors", revision="main") == "path"
    assert calls == [("timm/net", "model.safetensors", {"revision": "main"})] * 3


def test_a_line_that_is_always_cut_is_given_up(asked):
    calls, errors = asked
    errors += [ChunkedEncodingError("cut")] * 100
    with pytest.raises(ChunkedEncodingError, match="cut"):
        hub_file("timm/net", "model.safetensors")
    assert len(calls) == CUTS + 1


def test_any_other_answer_is_final(asked):
    calls, errors = asked
    errors.append(PermissionError("gated"))
    with pytest.raises(PermissionError, match="gated"):
        hub_file("timm/net", "model.safetensors")
    assert len(calls) == 1
