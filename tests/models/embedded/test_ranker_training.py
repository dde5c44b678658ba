"""The rankers' training: wrong captions are wrong, targets are right, runs resume, and open_clip loads the result."""

import dataclasses
import json
import random

import open_clip
import pytest
import torch

from models.captioner import Candidate
from models.embedded.train import ranker as ranker_program
from models.embedded.train.ranker import Recipe, Training, collage_number
from models.embedded.train.ranker_batches import (
    HARD_NEGATIVES,
    IGNORED,
    Mined,
    dense_targets,
    facts_of,
    make_batch,
    preprocessing,
)
from models.embedded.train.ranker_mining import MINING_SEED, load_mined, mine, save_mined
from models.embedded.train.ranker_model import EOS_ID, UNK_ID, build_tokenizer, encode_text, tokenize
from models.embedded.train.ranker_negatives import look_alikes, wrong_captions
from models.embedded.world import (
    KINDS,
    OBJECTS,
    FontMissing,
    captions,
    font_path,
    make_scene,
    render,
    render_with_instances,
    score,
)
from models.sampling import Sampling


def _font_is_missing() -> bool:
    try:
        font_path()
    except FontMissing:
        return True
    return False


pytestmark = pytest.mark.skipif(_font_is_missing(), reason="needs Debian's fonts-noto-color-emoji")

SMALL = Recipe(batch=4, dense_until=0.4, checkpoint_every_seconds=1e9, report_every_steps=1)


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_captions_are_wrong_and_true_of_their_own_scene(kind: str) -> None:
    rng = random.Random(kind)
    for index in range(10):
        scene = make_scene(3, index, kind)
        wrong = wrong_captions(scene, 20, rng)
        assert len({text for text, _ in wrong}) == 20
        for text, other in wrong:
            assert not score(text, scene).full
            assert score(text, other).full, (text, other)


def test_look_alikes_are_other_classes() -> None:
    assert set(look_alikes()) == set(OBJECTS)
    assert all(name not in others and len(others) == 8 for name, others in look_alikes().items())
    assert "apple" in look_alikes()["orange"]


def test_facts_say_only_what_a_scene_has() -> None:
    single, front, plain_list = (make_scene(3, 1, kind) for kind in ("single", "front", "list"))
    facts = facts_of([single, front, plain_list])
    assert facts.presence.sum(dim=1).tolist() == [1, 2, 3]
    assert facts.count.tolist() == [single.count - 1, IGNORED, IGNORED]
    names = list(OBJECTS)
    assert facts.first.tolist() == [IGNORED, names.index(front.objects[0].name), IGNORED]
    assert facts.second.tolist() == [IGNORED, names.index(front.objects[1].name), IGNORED]


def test_dense_targets_show_the_objects_where_they_are() -> None:
    scene = make_scene(3, 5, "next")
    for size in (96, 160):
        _, instances = render_with_instances(scene, size)
        classes, _roles = dense_targets(scene, instances, 8)
        left, right = (list(OBJECTS).index(placed.name) + 1 for placed in scene.objects)
        assert set(classes.ravel()) == {0, left, right}
        assert set(classes[:, :4].ravel()) <= {0, left}
        assert set(classes[:, 4:].ravel()) <= {0, right}


def test_a_batch_is_the_same_every_time_and_true_captions_come_first() -> None:
    first, again = (make_batch(5, 2, 6, 2, 8, preprocessing()) for _ in range(2))
    assert torch.equal(first.images, again.images)
    assert first.texts == again.texts
    assert first.scenes == 4
    assert len(first.texts) == 4 * (1 + HARD_NEGATIVES)
    assert first.images.shape == (6, 3, 96, 96)
    assert first.dense.shape == (6, 2, 8, 8)
    assert make_batch(5, 3, 6, 2, 8, preprocessing()).texts != first.texts


def test_mined_mistakes_take_part_without_facts(tmp_path) -> None:
    kinds = ("single", "front", "list")
    mined = [
        Mined(make_scene(MINING_SEED, i, kind), ("a cup a cup", "under above"))
        for i, kind in enumerate(kinds)
    ]
    save_mined(mined, tmp_path / "mined.json")
    assert load_mined(tmp_path / "mined.json") == mined

    batch = make_batch(5, 2, 6, 2, 8, preprocessing(), mined)
    assert len(batch.texts) == 4 * (1 + HARD_NEGATIVES)
    # Half of the four captioned scenes are mined, with two of their three negatives.
    said = [row for row, text in enumerate(batch.texts) if text in ("a cup a cup", "under above")]
    assert said == [4, 5, 7, 8]
    assert batch.with_facts.tolist() == [row for row in range(16) if row not in said]
    assert len(batch.text_facts.kind) == 12


def test_what_a_captioner_says_wrongly_is_mined() -> None:
    class Parrot:
        def caption(self, images, keys, sampling):
            assert images[0].size == (192, 192)
            truth = [
                captions(make_scene(MINING_SEED, int(key.split("-")[1]), kind))
                for key, kind in zip(keys, drawn, strict=True)
            ]
            return [
                [Candidate(true[0].replace(",", " ,"), ()), Candidate("a cup a cup", ())] for true in truth
            ]

    drawn = [one.scene.kind for one in mine(_AlwaysWrong(), Sampling(), 3)]
    assert len(drawn) == 3
    mined = mine(Parrot(), Sampling(), 3)
    assert [one.wrong for one in mined] == [("a cup a cup",)] * 3


class _AlwaysWrong:
    def caption(self, images, keys, sampling):
        return [[Candidate("nothing", ())] for _ in images]


def test_collages_give_way_to_captioned_scenes() -> None:
    recipe = Recipe(batch=40)
    numbers = [collage_number(recipe, fraction) for fraction in (0.0, recipe.dense_until, 0.36, 0.5, 1.0)]
    assert numbers[0] == numbers[1] == 28
    assert numbers[1] > numbers[2] > numbers[3] == numbers[4] == 6


def test_tokenizer_takes_any_text() -> None:
    tokenizer = build_tokenizer(["a", "dog", "next", "to"])
    ids = tokenize(tokenizer, ["A Dog, next-to a DOG.", "zebra", "dog " * 60])
    assert ids.shape == (3, 32)
    assert ids[0, :9].tolist() == [*tokenize(tokenizer, ["a dog next to a dog"])[0].tolist(), 0]
    assert UNK_ID in ids[1]
    assert ids[2, -1] == EOS_ID


@pytest.mark.parametrize("name", ["ranker1", "ranker2"])
def test_training_resumes_and_open_clip_loads_the_result(name: str, tmp_path, one_thread) -> None:
    training = Training(name, tmp_path, 0.02, recipe=SMALL)
    training.run()
    steps = training.budget.step
    assert steps >= 2
    resumed = Training(name, tmp_path, 0.035, resume=True, recipe=SMALL)
    assert resumed.budget.step == steps
    assert 0.4 < resumed.budget.fraction < 1
    torch.testing.assert_close(resumed.learner.state_dict(), training.learner.state_dict())
    resumed.run()
    lines = [json.loads(line) for line in (tmp_path / "curve.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, resumed.budget.step + 1))

    resumed.save()
    directory = f"local-dir:{tmp_path / 'model'}"
    model, _, preprocess = open_clip.create_model_and_transforms(directory)
    model.eval()
    resumed.learner.eval()
    scene = make_scene(3, 7, "above")
    pictures = torch.stack([preprocess(render(scene, size)) for size in (96, 150)])
    torch.testing.assert_close(pictures[0], preprocessing()(render(scene, 96)))
    texts = ["A bear, next to a cup of tea.", captions(scene)[0]]
    with torch.inference_mode():
        images = model.encode_image(pictures, normalize=True)
        features = model.encode_text(open_clip.get_tokenizer(directory)(texts), normalize=True)
        # Weights are stored in half precision.
        torch.testing.assert_close(images, resumed.learner.encode_image(pictures)[0], atol=2e-3, rtol=0)
        own = encode_text(resumed.learner.clip, tokenize(resumed.tokenizer, texts))
        torch.testing.assert_close(features, own, atol=2e-3, rtol=0)


def test_the_losses_fall(tmp_path, one_thread) -> None:
    training = Training("ranker2", tmp_path, 1.0, recipe=dataclasses.replace(SMALL, batch=5))
    batch = training.batch(0, 2)
    ids = tokenize(training.tokenizer, batch.texts)
    training.optimizer.set_rate(1.0, 0.4)
    totals = []
    for _ in range(8):
        losses = training.learner.losses(batch, ids)
        total = losses.contrastive + losses.dense + losses.image_facts + losses.text_facts
        training.optimizer.zero_grad()
        total.backward()
        training.optimizer.step()
        totals.append(total.item())
    assert totals[-1] < totals[0] * 0.8


def test_the_program_writes_a_model(tmp_path, one_thread, monkeypatch, capsys) -> None:
    monkeypatch.setattr("sys.argv", ["ranker", "ranker2", "--minutes", "0.005", "--out", str(tmp_path)])
    monkeypatch.setattr(Training, "try_out", lambda self: _Trial())
    ranker_program.main()
    assert (tmp_path / "model" / "open_clip_model.safetensors").stat().st_size < 4_000_000
    assert '"hard_top1": 0.5' in capsys.readouterr().out


class _Trial:
    def figures(self) -> dict[str, float]:
        return {"hard_top1": 0.5}
