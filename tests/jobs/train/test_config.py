"""A training is told what to do by a file and by words, and every one of them is checked."""

import pytest

from resnest import get_spec
from resnest.jobs.train.config import changed, from_facts, read_config
from resnest.specs.recipe import get_recipe
from tests.support.without import run_without


def test_nothing_said_is_the_preset():
    config = read_config("resnest50")
    assert config.spec == get_spec("resnest50")
    assert config.recipe == get_recipe("resnest50", "gluon")
    assert config.run.dtype == "float32"


def test_words_come_after_the_file(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("recipe: finetune\nepochs: 3\nbatch: 8\nradix: 4\naugmentation: {jitter: 0.1}\n")
    words = ["epochs=5", "lr=1e-2", "augmentation.area=[0.5,1]", "freeze_norm=true", "ema_decay=0.99", "size=64"]
    config = read_config("resnest50", file, words, classes=10)
    assert (config.recipe.epochs, config.recipe.batch, config.recipe.lr) == (5, 8, 0.01)
    assert (config.recipe.size, config.recipe.eval_size) == (64, 64)
    assert (config.spec.radix, config.spec.num_classes) == (4, 10)
    assert config.recipe.augmentation.area == (0.5, 1)
    assert config.recipe.augmentation.jitter == 0.1
    assert config.recipe.nesterov
    assert config.run.freeze_norm
    assert config.setup({}).average == 0.99
    assert config.setup({}).frozen_norms[0] == "conv1.1"
    assert "bn1.weight" in config.rule().frozen


def test_stage_depths_are_a_spec_s():
    assert read_config("resnest50", words=["stage_depths=[1,1,1,1]"]).spec.stage_depths == (1, 1, 1, 1)


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("epoch=3", r"there is no key 'epoch'; did you mean epochs"),
        ("raddix=3", r"there is no key 'raddix'; did you mean radix"),
        ("augmentation.jiter=3", r"there is no key 'augmentation.jiter'; did you mean augmentation.jitter"),
        ("epochs=three", r"epochs: Value 'three'"),
        ("epochs=0", r"epochs=0 must be a whole number, at least 1"),
        ("dtype=[1]", r"dtype"),
        ("epochs", r"'epochs' is no key=value"),
        ("epochs=???", r"epochs=None must be a whole number"),
        ("workers=1025", r"workers=1025 must be at most 1024"),
        ("workers=-1", r"workers=-1 must be at least 0"),
        ("recipe=imagenet", r"there is no recipe 'imagenet'"),
        ("num_classes=7", r"num_classes=7 and the 10 classes in the data are not the same"),
        ("radix=0", r"radix=0"),
        ("name=x", r"there is no key 'name'"),
    ],
)
def test_what_cannot_be_is_one_sentence(word, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        read_config("resnest50", None, [word], classes=10)
    assert len(str(caught.value).splitlines()) == 1


def test_facts_are_read_again_to_the_bit():
    config = read_config("resnest50", None, ["lr=0.1234567890123", "augmentation.area=[0.3,0.9]", "clip=1"])
    assert from_facts(config.facts()) == config


def test_a_resumed_training_may_be_longer_but_no_other_network():
    config = read_config("resnest50", None, ["recipe=finetune", "epochs=2"])
    assert changed(config, None, ["epochs=3", "workers=1"]).recipe.epochs == 3
    assert changed(config, None, ["recipe=finetune", "radix=2", "seed=0"]) == config
    for word in ("radix=4", "seed=1", "batch=3", "ema_decay=0.9"):
        with pytest.raises(ValueError, match=f"{word} makes another training of this, which has "):
            changed(config, None, [word])


def test_without_omegaconf_it_says_what_to_install():
    run = run_without(["omegaconf"], "from resnest.jobs.train.config import read_config; read_config('resnest50')")
    assert "pip install 'resnest[train]'" in run.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"- 1", r"a\.yaml holds no keys with values"),
        (b"batch: \xff", r"a\.yaml: 'utf-8' codec can't decode"),
        (b"batch: [", r"a\.yaml: while parsing"),
    ],
)
def test_a_file_that_holds_something_else_is_named(content, sentence, tmp_path):
    (tmp_path / "a.yaml").write_bytes(content)
    with pytest.raises(ValueError, match=sentence):
        read_config("resnest50", tmp_path / "a.yaml")
