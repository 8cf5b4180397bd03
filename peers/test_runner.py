"""A training by mmengine's Runner on our backbone: saved, gone on with, and opened by `resnest segment`."""

from pathlib import Path

import numpy as np
import torch
from click.testing import CliRunner
from mmengine.config import ConfigDict
from mmengine.runner import Runner
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from mmseg_models import our_backbone
from PIL import Image
from torch.utils.data import DataLoader, Dataset

import resnest.openmmlab  # noqa: F401  # registers the backbone
from resnest.cli import main
from resnest.data.photos import normalise, open_photo
from resnest.specs.resnest import MEAN, STD

PHOTO = Path(__file__).parents[1] / "resnest" / "data" / "assets" / "chelsea.jpg"
SIZE = (64, 64)


class Drawn(Dataset):
    """Four images whose pixels' classes are seen in their brightness, and how many were asked for."""

    asked = 0

    def __len__(self):
        return 4

    def __getitem__(self, index):
        self.asked += 1
        labels = torch.randint(0, 19, (1, 8, 8), generator=torch.Generator().manual_seed(index))
        labels = labels.repeat_interleave(8, 1).repeat_interleave(8, 2)
        sample = SegDataSample(metainfo={"img_shape": SIZE, "ori_shape": SIZE})
        sample.gt_sem_seg = PixelData(data=labels)
        return {"inputs": (labels * 13).to(torch.uint8).expand(3, -1, -1), "data_samples": sample}


def together(samples):
    return {key: [sample[key] for sample in samples] for key in samples[0]}


def train(folder, epochs, *, resume=False):
    model = our_backbone(frozen_stages=0)
    model.decode_head.dropout_ratio = model.auxiliary_head.dropout_ratio = 0  # its draws are not in a checkpoint
    model.data_preprocessor = ConfigDict(
        {
            "type": "SegDataPreProcessor",
            "mean": [255 * value for value in MEAN],
            "std": [255 * value for value in STD],
            "size": SIZE,
            "bgr_to_rgb": False,
        }
    )
    images = Drawn()
    runner = Runner(
        model=model,
        work_dir=str(folder),
        train_dataloader=DataLoader(images, batch_size=2, collate_fn=together),
        train_cfg={"by_epoch": True, "max_epochs": epochs},
        optim_wrapper={"type": "OptimWrapper", "optimizer": {"type": "SGD", "lr": 0.01, "momentum": 0.9}},
        param_scheduler={"type": "PolyLR", "end": 6, "by_epoch": False},
        custom_hooks=[{"type": "EMAHook"}],
        randomness={"seed": 0},
        resume=resume,
        default_scope="mmseg",
        experiment_name=folder.name,
        log_level="WARNING",
    )
    runner.train()
    return runner, images.asked


def test_a_training_is_saved_gone_on_with_and_opened_by_the_command_line(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")  # mmengine's resume opens its files the older way
    whole, _ = train(tmp_path / "whole", 3)
    train(tmp_path / "parts", 2)
    resumed, asked = train(tmp_path / "parts", 3, resume=True)
    assert asked == len(Drawn())
    expected = whole.model.state_dict()
    learned = resumed.model.state_dict()
    assert all(torch.equal(learned[name], expected[name]) for name in expected)

    checkpoint = tmp_path / "parts" / "epoch_3.pth"
    average = resumed.model.eval()
    average.load_state_dict(torch.load(checkpoint, weights_only=False)["state_dict"])
    assert any(not torch.equal(average.state_dict()[name], expected[name].cpu()) for name in expected)
    image = open_photo(PHOTO).resize((96, 64))
    image.save(tmp_path / "photo.png")
    pixels = torch.from_numpy(normalise(image))
    with torch.no_grad():
        theirs = average.encode_decode(pixels, [{"img_shape": pixels.shape[2:]}]).argmax(1)[0].numpy()
    words = ["segment", tmp_path / "photo.png", "--weights", checkpoint, "--labels", tmp_path / "labels.png"]
    ran = CliRunner().invoke(main, list(map(str, words)))
    assert ran.exit_code == 0, ran.output
    found = np.asarray(Image.open(tmp_path / "labels.png"))
    assert len(np.unique(theirs)) > 1
    assert (found == theirs).mean() > 0.999
