import copy
import io
import json
import runpy
from pathlib import Path

import huggingface_hub
import pytest
import torch

import resnest
import resnest.torch
from resnest import get_spec, weights
from resnest.backends.cards import model_card
from resnest.weights.formats import files
from resnest.weights.saved import classes_beside, write_classes
from resnest.weights.seeded import draw_weights
from tests.support.arrays import photo_like
from tests.support.backends import Backend
from tests.support.paths import REPOSITORY

NARROW = {"stem_width": 8, "bottleneck_width": 8}
SPEC = get_spec("resnest14", num_classes=5, **NARROW)
ROOT = str(REPOSITORY)


def build(backend, **options):
    return backend.module.create_model("resnest14", weights=draw_weights(SPEC), num_classes=5, **NARROW, **options)


@pytest.fixture(params=["torch", pytest.param("gluon", marks=pytest.mark.gluon)])
def other(request):
    """The backend that opens what `backend` saved."""
    return Backend(request.param)


def test_hubconf_has_every_builder():
    entries = runpy.run_path(f"{ROOT}/hubconf.py")
    assert all(entries[name] is getattr(resnest.torch, name) for name in resnest.list_models())


def test_torch_hub_loads_a_network_from_a_clone():
    model = torch.hub.load(ROOT, "resnest50", source="local", num_classes=3, **NARROW)
    assert model.spec == get_spec("resnest50", num_classes=3, **NARROW)


def test_what_one_backend_saved_opens_in_both(backend, other, tmp_path):
    model = build(backend, final_drop=0.25)
    model.save_pretrained(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "model.safetensors", "README.md"}
    opened = other.module.ResNeSt.from_pretrained(tmp_path)
    assert opened.spec == SPEC
    assert "0.25" in repr(opened.drop)
    found = other.module.get_weights(opened)
    assert all((found[name] == array).all() for name, array in draw_weights(SPEC).items())


def test_a_model_from_a_folder_is_in_eval_mode(tmp_path):
    build(Backend("torch")).save_pretrained(tmp_path)
    assert not resnest.torch.ResNeSt.from_pretrained(tmp_path).training


def test_a_classifier_that_was_replaced_is_what_is_saved(backend, tmp_path):
    model = build(backend)
    model.reset_classifier(2)
    model.save_pretrained(tmp_path)
    opened = backend.module.ResNeSt.from_pretrained(tmp_path)
    assert opened.spec.num_classes == 2
    x = photo_like(1, 3, 32, 32, dtype="float32")
    assert (backend.predict(opened, x) == backend.predict(model, x)).all()


NAMES = ["Bär", "Löwe", "cat", "dog", "elk"]


def test_the_names_of_the_classes_go_from_folder_to_folder(backend, other, tmp_path):
    build(backend).save_pretrained(tmp_path / "trained")
    write_classes(tmp_path / "trained", NAMES)
    opened = other.module.ResNeSt.from_pretrained(tmp_path / "trained")
    assert opened.classes == NAMES
    opened.deploy().save_pretrained(tmp_path / "deployed")
    assert classes_beside(tmp_path / "deployed" / "model.safetensors", 5) == NAMES
    assert other.module.ResNeSt.from_pretrained(tmp_path / "trained", num_classes=3).classes is None


def test_other_classes_do_not_get_the_names_of_those_before(backend, tmp_path):
    build(backend).save_pretrained(tmp_path)
    write_classes(tmp_path, NAMES)
    opened = backend.module.ResNeSt.from_pretrained(tmp_path)
    opened.reset_classifier(5)
    opened.save_pretrained(tmp_path / "other")
    assert not (tmp_path / "other" / "classes.txt").exists()


def test_the_names_of_the_classes_come_from_the_hub_too(tmp_path):
    repository = tmp_path / "models--me--net"
    build(Backend("torch")).save_pretrained(repository / "snapshots" / ("a" * 40))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a" * 40)
    where = {"cache_dir": tmp_path, "local_files_only": True}
    assert resnest.torch.ResNeSt.from_pretrained("me/net", **where).classes is None
    write_classes(repository / "snapshots" / ("a" * 40), NAMES)
    assert resnest.torch.ResNeSt.from_pretrained("me/net", **where).classes == NAMES


def test_from_pretrained_adapts_to_other_classes_and_channels(backend, tmp_path, caplog):
    build(backend).save_pretrained(tmp_path)
    opened = backend.module.ResNeSt.from_pretrained(tmp_path, num_classes=3, in_channels=1)
    assert (opened.spec.num_classes, opened.spec.in_channels) == (3, 1)
    assert "the classifier for 5 classes gave way to an untrained one for 3" in caplog.messages


def test_a_backbone_is_saved_with_the_stages_it_has(backend, other, tmp_path):
    build(backend, features_only=True, out_indices=(1, 2)).save_pretrained(tmp_path)
    opened = other.module.ResNeStFeatures.from_pretrained(tmp_path)
    assert opened.out_indices == [1, 2]
    held = other.module.get_weights(opened)
    assert not any(name.startswith("layer3") for name in held)
    assert all((array == draw_weights(SPEC)[name]).all() for name, array in held.items())


def test_the_saved_weights_are_a_weight_file_like_any_other(tmp_path):
    build(Backend("torch")).save_pretrained(tmp_path)
    loaded = weights.load(tmp_path / "model.safetensors")
    assert all((loaded[name] == array).all() for name, array in draw_weights(SPEC).items())


def test_the_config_is_the_spec_and_the_options_that_are_not_the_defaults(tmp_path):
    build(Backend("torch"), final_drop=0.5).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config.keys() == {"spec", "final_drop"}
    assert resnest.ResNeStSpec(**config["spec"]) == SPEC


@pytest.mark.parametrize(
    "config", [None, {}, {"architecture": "resnest50d"}, {"spec": {"name": "x"}}, {"spec": {"nam": 1}}]
)
def test_a_folder_without_a_spec_is_one_sentence(backend, config, tmp_path):
    build(Backend("torch")).save_pretrained(tmp_path)
    (tmp_path / "config.json").unlink()
    if config is not None:
        (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"has no config\.json with a spec in it.*create_model\(NAME, weights=FILE\)"):
        backend.module.ResNeSt.from_pretrained(tmp_path)


def test_weights_that_are_not_those_of_the_spec_are_an_error_that_lists_them(tmp_path):
    build(Backend("torch")).save_pretrained(tmp_path)
    lacking = {name: array for name, array in draw_weights(SPEC).items() if name != "bn1.weight"}
    files.write_file(tmp_path / "model.safetensors", lacking)
    with pytest.raises(ValueError, match=r"not those of resnest14; missing: bn1\.weight"):
        resnest.torch.ResNeSt.from_pretrained(tmp_path)


def test_a_model_is_pushed_with_its_weights_config_and_card(monkeypatch):
    pushed = {}

    def create_repo(api, repo_id, **arguments):
        return huggingface_hub.RepoUrl(f"https://huggingface.co/{repo_id}")

    def upload_folder(api, *, repo_id, folder_path, **arguments):
        pushed.update({path.name: path.read_bytes() for path in Path(folder_path).iterdir()}, repo_id=repo_id)

    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", create_repo)
    monkeypatch.setattr(huggingface_hub.HfApi, "upload_folder", upload_folder)
    build(Backend("torch")).push_to_hub("somebody/small")
    assert pushed["repo_id"] == "somebody/small"
    assert pushed.keys() == {"repo_id", "config.json", "model.safetensors", "README.md"}
    assert pushed["README.md"].decode() == model_card(SPEC)


def test_a_network_that_no_spec_says_leaves_neither_a_folder_nor_a_repository_and_an_older_save_as_it_is(
    backend, tmp_path, monkeypatch
):
    made = []
    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", lambda api, repo_id, **arguments: made.append(repo_id))
    model = build(backend)
    model.save_pretrained(tmp_path / "there")
    before = {path.name: path.read_bytes() for path in (tmp_path / "there").iterdir()}
    model.prune_intermediate_layers([2])
    for action in (model.push_to_hub, lambda name: model.save_pretrained(tmp_path / name / "folder")):
        with pytest.raises(ValueError, match="save the weights alone"):
            action("somebody")
    with pytest.raises(ValueError, match="save the weights alone"):
        model.save_pretrained(tmp_path / "there")
    assert (made, list(tmp_path.iterdir())) == ([], [tmp_path / "there"])
    assert {path.name: path.read_bytes() for path in (tmp_path / "there").iterdir()} == before


def test_the_card_tells_what_the_spec_tells():
    card = model_card(get_spec("resnest269"))
    assert huggingface_hub.ModelCard(card).data.library_name == "resnest"
    for fact in ("3, 30, 48, 8", "110,929,480", "77,348,702,208", "416x416", "bicubic", "image-classification"):
        assert fact in card
    assert "image-feature-extraction" in model_card(get_spec("resnest50", num_classes=0))


def test_the_mixin_leaves_copying_pickling_scripting_and_compiling_as_they_were():
    model = build(Backend("torch")).eval()
    x, saved = torch.randn(1, 3, 32, 32), io.BytesIO()
    torch.save(model, saved)
    saved.seek(0)
    twins = [
        copy.deepcopy(model),
        torch.load(saved, weights_only=False),
        torch.jit.script(model),
        torch.export.export(model, (x,)).module(),
        torch.compile(model, backend="eager"),
    ]
    with torch.no_grad():
        assert all((twin(x) == model(x)).all() for twin in twins)


def test_a_network_in_its_deploy_form_is_saved_in_it(backend, tmp_path):
    model = build(backend, deploy=True)
    model.save_pretrained(tmp_path)
    opened = backend.module.ResNeSt.from_pretrained(tmp_path)
    x = photo_like(1, 3, 32, 32, dtype="float32")
    assert opened.spec == model.spec
    assert (backend.predict(opened, x) == backend.predict(model, x)).all()


def test_what_an_older_mixin_says_of_the_download_is_no_option_of_a_network(backend, tmp_path):
    """Below huggingface_hub 1.0 `proxies` and `resume_download` always come along."""
    build(backend).save_pretrained(tmp_path)
    where = {"revision": None, "cache_dir": None, "force_download": False, "local_files_only": False, "token": None}
    older = where | {"proxies": None, "resume_download": None}
    opened = backend.module.ResNeSt._from_pretrained(model_id=str(tmp_path), spec=SPEC, **older)
    assert opened.spec == SPEC


def test_config_and_weights_are_of_one_commit_whatever_is_pushed_in_between(tmp_path, monkeypatch):
    from resnest.backends import hub

    repository = tmp_path / "models--me--net"
    (repository / "refs").mkdir(parents=True)
    commits = {"a" * 40: draw_weights(SPEC), "b" * 40: {name: 0 * array for name, array in draw_weights(SPEC).items()}}
    for commit, arrays in commits.items():
        model = resnest.torch.create_model("resnest14", weights=arrays, num_classes=5, **NARROW)
        model.save_pretrained(repository / "snapshots" / commit)
    download = hub.hub_file

    def pushed_after_each_file(model_id, file, **arguments):
        path = download(model_id, file, **arguments)
        (repository / "refs" / "main").write_text("b" * 40)
        return path

    monkeypatch.setattr(hub, "hub_file", pushed_after_each_file)
    (repository / "refs" / "main").write_text("a" * 40)
    opened = resnest.torch.ResNeSt.from_pretrained("me/net", cache_dir=tmp_path, local_files_only=True)
    assert (opened.fc.weight.detach().numpy() == draw_weights(SPEC)["fc.weight"]).all()
