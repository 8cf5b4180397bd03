import pytest

from resnest import get_segmentation_spec, list_segmentation_models
from resnest import weights as weight_files


@pytest.mark.parametrize("name", list_segmentation_models())
def test_every_network_is_recognised_by_its_tensors(name):
    spec = get_segmentation_spec(name)
    assert weight_files.recognise(spec.tensors()) == spec
