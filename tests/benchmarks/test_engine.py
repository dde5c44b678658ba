"""The engine's benchmark runs through on toy models, and its baselines do what they stand for."""

from __future__ import annotations

import json

import pytest
import torch

from benchmarks import engine
from benchmarks.baselines import original_tokens, stock_tokens
from models.sampler import sample
from models.sampling import Sampling


def test_the_small_mode_prints_every_section(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["engine", "--small", "--rounds", "1", "--tokens", "3", "--json"])
    threads = torch.get_num_threads()
    try:
        engine.main()
    finally:
        torch.set_num_threads(threads)
    found = json.loads(capsys.readouterr().out)
    rows = found["rows"]
    assert [row["section"] for row in rows if row["section"] != "growth"] == [
        *["decode", "pixels", "decode", "pixels", "pixels", "peak", "peak"],
        *["decode", "pixels", "decode", "pixels", "pixels"],
        *["clip"] * 4,
        *["recipe"] * 2,
    ]
    assert all(row["ours"] > 0 for row in rows)
    assert rows[0]["prefixes_per_step"] > 30, "all distinct"


def test_greedy_baselines_and_ours_draw_the_same_tokens() -> None:
    """What is compared for speed must be the same work."""
    with torch.inference_mode():
        bench = engine.Bench(small=True, rounds=1, tokens=6)
        captioning = engine.Captioning(bench, sharpness=20.0)
        greedy = Sampling(
            candidates=2, top_p=0.0, top_k=0, min_new_tokens=6, max_new_tokens=6, force_eos_probability=None
        )
        states, prompt, end = captioning._see(1), captioning.prompt, captioning.end
        ours = sample(captioning.model.text_decoder, states, ["row"], prompt, greedy, end)[0]
        original = original_tokens(captioning.model, states, prompt, greedy, end)[:, len(prompt) :].tolist()
        stock = stock_tokens(
            # Hugging Face takes no top_p of 0; a tiny one is the same.
            captioning.model, states, prompt, Sampling(**{**vars(greedy), "top_p": 1e-6}), end
        )[:, len(prompt) :].tolist()  # fmt: skip
    assert [list(tokens) for tokens in ours] == original == stock
