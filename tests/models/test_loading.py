"""Loading says in one line what is wrong, never unpickles, and knows a model's bytes again."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import load_file, save_file

from models import loading
from models.captioner import Captioner
from models.device import is_out_of_memory, items_that_fit, pick_dtype, run_in_batches
from models.identity import ModelError, local_directory, model_fingerprint
from models.loading import fetch_from_hub, torch_dtype
from models.profiles import PROFILES, WEIGHTS, get_profile
from models.ranker import Ranker
from tests.models.tiny import build_tiny_clip, build_tiny_t5


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def copied(blip_directory: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(blip_directory, tmp_path / "blip"))


def assert_one_line(error: pytest.ExceptionInfo[ModelError]) -> None:
    assert "\n" not in str(error.value)


def test_half_precision_files_load_as_float32(copied: Path) -> None:
    path = copied / "model.safetensors"
    save_file({k: v.half() for k, v in load_file(path).items()}, path, metadata={"format": "pt"})
    assert Captioner.load(str(copied))._model.dtype == torch.float32


def test_a_hub_name_without_network_names_the_fix(offline: None) -> None:
    with pytest.raises(ModelError, match="cocoscribe models fetch") as error:
        Captioner.load("Salesforce/blip-image-captioning-large")
    assert_one_line(error)
    with pytest.raises(ModelError, match="cocoscribe models fetch") as error:
        Ranker.load("ViT-L-14", "openai")
    assert_one_line(error)


def test_fetching_takes_safetensors_and_no_pickles(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: dict[str, object] = {}

    def download(source: str, **options: object) -> str:
        asked.update(options, source=source)
        return str(tmp_path)

    monkeypatch.setattr(loading, "snapshot_download", download)
    assert fetch_from_hub("owner/name", "abc") == tmp_path
    assert (asked["source"], asked["revision"]) == ("owner/name", "abc")
    patterns = asked["allow_patterns"]
    assert isinstance(patterns, list)
    assert "*.safetensors" in patterns
    assert not any(pattern.endswith((".bin", ".pt", ".pth", ".pkl")) for pattern in patterns)


def test_a_failed_fetch_is_one_line(offline: None) -> None:
    with pytest.raises(ModelError, match="neither cached nor to be had") as error:
        fetch_from_hub("owner/name", None)
    assert_one_line(error)


@pytest.mark.parametrize("source", ["/no/such/model", "./no/model", "local-dir:nowhere", "a/b/c"])
def test_a_missing_directory_is_named(source: str) -> None:
    with pytest.raises(ModelError, match="no model directory") as error:
        Captioner.load(source)
    assert_one_line(error)


def test_pickled_weights_are_not_read(copied: Path) -> None:
    state = load_file(copied / "model.safetensors")
    (copied / "model.safetensors").unlink()
    torch.save(state, copied / "pytorch_model.bin")
    with pytest.raises(ModelError, match="safetensors") as error:
        Captioner.load(str(copied))
    assert_one_line(error)


def test_damaged_and_incomplete_weights_are_refused(copied: Path) -> None:
    path = copied / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError) as error:
        Captioner.load(str(copied))
    assert_one_line(error)
    path.write_bytes(whole)
    state = load_file(path)
    del state["text_decoder.cls.predictions.transform.dense.weight"]
    save_file(state, path, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lack 1 tensors, text_decoder\.cls"):
        Captioner.load(str(copied))


def test_another_kind_of_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="'t5' model where a BLIP is needed"):
        Captioner.load(str(build_tiny_t5(tmp_path / "t5")))
    with pytest.raises(ModelError, match="open_clip_config"):
        Ranker.load(str(tmp_path / "t5"))
    with pytest.raises(ModelError, match="no pretrained weights 'mine'"):
        Ranker.load("ViT-L-14", "mine")
    with pytest.raises(ModelError, match="float8"):
        torch_dtype("float8")


def test_the_fingerprint_follows_bytes_and_names_not_times(tmp_path: Path) -> None:
    directory = build_tiny_clip(tmp_path / "clip")
    before = model_fingerprint(f"local-dir:{directory}", "")
    assert before == model_fingerprint(str(directory)) == Ranker.load(str(directory)).fingerprint
    (directory / "README.md").write_text("no part of the model")
    os.utime(directory / "open_clip_model.safetensors")
    assert model_fingerprint(str(directory)) == before
    config = json.loads((directory / "open_clip_config.json").read_text())
    config["preprocess_cfg"]["interpolation"] = "bilinear"
    (directory / "open_clip_config.json").write_text(json.dumps(config))
    assert model_fingerprint(str(directory)) != before
    assert model_fingerprint("owner/name", "abc") == "owner/name@abc"
    assert local_directory("owner/name") is None
    with pytest.raises(ModelError, match=r"no \.safetensors"):
        model_fingerprint(str(tmp_path))


def test_profiles_are_the_recipe_s() -> None:
    assert list(PROFILES) == ["embedded", "laion-coco", "laion-idle-cap"]
    blog, ran = get_profile("laion-coco"), get_profile("laion-idle-cap")
    assert blog.captioner == ran.captioner
    assert blog.captioner.revision
    assert (blog.keep, ran.ranker2) == (5, None)
    sampling = blog.sampling
    assert sampling == ran.sampling
    assert (sampling.top_p, sampling.top_k, sampling.repetition_penalty) == (0.2427084604681384, 9607, 1.3)
    assert (sampling.min_new_tokens, sampling.force_eos_probability) == (5, 0.17937666742679637)
    assert sampling.per_candidate(sampling.max_new_tokens) == (20,) * 8 + (30,) * 16 + (45,) * 16
    assert get_profile("embedded").captioner.source == str(WEIGHTS / "captioner")
    with pytest.raises(ModelError, match="embedded, laion-coco, laion-idle-cap"):
        get_profile("laion")


def test_batches_keep_their_order_and_give_up_on_one_item() -> None:
    seen: list[int] = []

    def run(batch: list[int]) -> list[int]:
        if len(batch) > 2:
            raise MemoryError
        seen.append(len(batch))
        return [2 * item for item in batch]

    assert run_in_batches(range(7), run, 5) == ([0, 2, 4, 6, 8, 10, 12], 2)
    assert seen == [2, 2, 2, 1]

    def never(batch: list[int]) -> list[int]:
        raise torch.OutOfMemoryError("none")

    with pytest.raises(torch.OutOfMemoryError):
        run_in_batches([1, 2], never, 2)


def test_other_errors_are_not_taken_for_memory() -> None:
    assert not is_out_of_memory(RuntimeError("shapes differ"))
    assert is_out_of_memory(
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried")
    )
    assert (pick_dtype("cpu"), pick_dtype("cuda:1")) == ("float32", "float16")
    assert items_that_fit(10**15, torch.device("cpu"), 7) == 7
