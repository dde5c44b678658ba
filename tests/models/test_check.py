"""Comparing devices and precisions, and the int8 option."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from models import check, profiles
from models.captioner import Captioner
from models.check import check_device
from models.identity import ModelError
from models.profiles import CaptionerRef, Profile, RankerRef, RepairerRef
from models.sampling import Sampling
from tests.models.tiny import build_tiny_clip


@pytest.fixture(autouse=True)
def tiny_profile(
    blip_directory: Path, tmp_path: Path, pictures: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    ranker = RankerRef(f"local-dir:{build_tiny_clip(tmp_path / 'clip')}")
    sampling = Sampling(candidates=8, max_new_tokens=8, top_p=0.8)
    tiny = Profile("tiny", "", CaptionerRef(str(blip_directory)), ranker, None, RepairerRef("none"), sampling)
    monkeypatch.setitem(profiles.PROFILES, "tiny", tiny)
    scenes = tmp_path / "scenes"
    scenes.mkdir()
    for number, picture in enumerate(pictures):
        picture.save(scenes / f"{number:05}.jpg")
    monkeypatch.setattr(check, "_SCENES", scenes)


def test_the_cpu_equals_itself() -> None:
    found = check_device("cpu", "float32", "tiny", most_images=9)
    assert found.passed
    assert (found.images, found.equal_candidates, found.equal_top) == (9, 1.0, 1.0)
    assert found.logit_error == found.similarity_error == 0.0
    assert found.images_per_second > 0


def test_int8_reports_what_it_changes() -> None:
    found = check_device("cpu", "int8", "tiny")
    assert found.passed
    assert found.images == 12
    assert 0 < found.logit_error < 3
    assert found.similarity_error == 0.0
    assert 0 <= found.equal_candidates <= found.equal_top <= 1


def test_another_precision_that_differs_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "_MOST_LOGIT_ERROR", -1.0)
    assert not check_device("cpu", "float32", "tiny").passed
    assert check_device("cpu", "int8", "tiny").passed


def test_a_device_that_is_missing_and_int8_off_the_cpu_are_refused(blip_directory: Path) -> None:
    with pytest.raises(ModelError, match="device cuda:9"):
        check_device("cuda:9", "float32", "tiny")
    with pytest.raises(ModelError, match="int8 is for CPUs"):
        Captioner.load(str(blip_directory), device="meta", dtype="int8")


def test_without_scenes_there_is_nothing_to_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "_SCENES", tmp_path / "nowhere")
    with pytest.raises(ModelError, match="no shipped scenes"):
        check_device("cpu", "float32", "tiny")


def test_int8_has_its_own_fingerprint(blip_directory: Path, captioner: Captioner) -> None:
    assert Captioner.load(str(blip_directory), dtype="int8").fingerprint == f"{captioner.fingerprint}-int8"


def test_the_shipped_models_check_out_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    found = check_device("cpu", "float32", "embedded", most_images=6)
    assert found.passed
    assert found.equal_candidates == 1.0
