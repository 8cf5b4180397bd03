import pytest

from resnest.jobs.processes import own_device


@pytest.mark.parametrize(
    ("world", "device", "own"),
    [
        ("2", "cuda", "cuda:1"),
        ("2", "gpu", "gpu:1"),
        ("2", "cuda:0", "cuda:0"),
        ("2", "cpu", "cpu"),
        ("1", "cuda", "cuda"),
    ],
)
def test_each_process_takes_its_own_gpu_unless_one_is_named(monkeypatch, world, device, own):
    monkeypatch.setenv("WORLD_SIZE", world)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert own_device(device) == own
