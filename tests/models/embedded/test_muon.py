"""Muon, the training budget, its checkpoints and its curve."""

import copy
import json
import time

import pytest
import torch
from torch import nn

from models.embedded.train.budget import (
    WARM_UP_STEPS,
    Budget,
    Curve,
    learning_rate,
    load_checkpoint,
    save_checkpoint,
)
from models.embedded.train.muon import Muon, MuonWithAdamW, is_fused_qkv, is_hidden_matrix, orthogonalize


@pytest.mark.parametrize("shape", [(3, 16, 16), (2, 24, 64), (2, 64, 24)])
def test_orthogonalize_brings_all_singular_values_near_one(shape: tuple[int, int, int]) -> None:
    values = torch.linalg.svdvals(
        orthogonalize(torch.randn(shape, generator=torch.Generator().manual_seed(0)))
    )
    # The smallest values of a square random matrix are nearly 0: five steps raise them, not all the way.
    assert values.max() < 1.3
    assert values.median() > 0.7
    if shape[1] != shape[2]:
        assert values.min() > 0.5


def test_a_fused_projection_moves_like_its_three_parts() -> None:
    gradient = torch.randn(48, 16, generator=torch.Generator().manual_seed(1))
    fused = nn.Parameter(torch.zeros(48, 16))
    parts = [nn.Parameter(torch.zeros(16, 16)) for _ in range(3)]
    fused.grad = gradient.clone()
    for part, piece in zip(parts, gradient.split(16), strict=True):
        part.grad = piece.clone()
    Muon([{"params": [fused], "splits": 3}], lr=0.1).step()
    Muon([{"params": parts}], lr=0.1).step()
    torch.testing.assert_close(fused.detach(), torch.cat([part.detach() for part in parts]))


def test_convolutions_are_moved_as_matrices() -> None:
    convolution = nn.Parameter(torch.zeros(8, 4, 3, 3))
    convolution.grad = torch.randn(8, 4, 3, 3, generator=torch.Generator().manual_seed(2))
    Muon([{"params": [convolution]}], lr=1.0).step()
    values = torch.linalg.svdvals(convolution.detach().flatten(1))
    assert values.min() > 0.5
    assert values.max() < 1.3


def test_hidden_matrices_go_to_muon_and_the_rest_to_adamw() -> None:
    matrix = torch.zeros(64, 64)
    assert is_hidden_matrix("encoder.layer.0.mlp.fc1.weight", matrix)
    for name in (
        "token_embedding.weight",
        "positional_embedding",
        "lm_head.weight",
        "decoder.cls.predictions.weight",
    ):
        assert not is_hidden_matrix(name, matrix)
    assert not is_hidden_matrix("encoder.norm.weight", torch.zeros(64))
    assert is_fused_qkv("self_attn.qkv.weight")
    assert not is_fused_qkv("self_attn.q.weight")


def test_the_pair_learns_and_goes_on_from_its_state() -> None:
    torch.manual_seed(3)
    inputs = torch.randn(64, 16)
    wanted = inputs[:, :8].relu()

    def training() -> tuple[nn.Module, MuonWithAdamW]:
        torch.manual_seed(4)
        model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 8))
        return model, MuonWithAdamW(model.named_parameters(), muon_lr=0.02, adamw_lr=1e-3)

    def step(model: nn.Module, optimizer: MuonWithAdamW) -> float:
        loss = ((model(inputs) - wanted) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    model, optimizer = training()
    losses = [step(model, optimizer) for _ in range(60)]
    assert losses[-1] < losses[0] / 4

    other, resumed = training()
    other.load_state_dict(model.state_dict())
    # A copy: torch shares the tensors of a state with whom it is given to.
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert step(other, resumed) == pytest.approx(step(model, optimizer))
    assert step(other, resumed) == pytest.approx(step(model, optimizer))


def test_rates_can_be_set_apart() -> None:
    optimizer = MuonWithAdamW(nn.Linear(16, 16).named_parameters(), muon_lr=0.02, adamw_lr=0.001)
    optimizer.set_rate(0.5, 0.1)
    assert optimizer.muon is not None
    assert optimizer.muon.param_groups[0]["lr"] == pytest.approx(0.002)
    assert optimizer.adamw.param_groups[0]["lr"] == pytest.approx(0.0005)


def test_learning_rate_warms_up_stays_and_falls_to_nothing() -> None:
    assert learning_rate(0, 0.0) == pytest.approx(1 / WARM_UP_STEPS)
    assert learning_rate(WARM_UP_STEPS, 0.1) == 1.0
    assert learning_rate(1000, 0.3) == 1.0
    assert learning_rate(1000, 0.65) == pytest.approx(0.5)
    assert learning_rate(1000, 1.0) == 0.0


def test_budget_counts_cpu_time_not_sleep() -> None:
    budget = Budget(seconds=60)
    time.sleep(0.2)
    assert budget.spent_seconds < 0.1
    torch.randn(300, 300) @ torch.randn(300, 300)
    assert budget.spent_seconds > 0
    with pytest.raises(ValueError, match="positive"):
        Budget(seconds=0)


def test_a_resumed_budget_stretches(tmp_path) -> None:
    budget = Budget(seconds=10, spent_seconds=8, step=70)
    save_checkpoint(tmp_path / "run" / "checkpoint.pt", budget, {"weights": torch.ones(2)})
    checkpoint = load_checkpoint(tmp_path / "run" / "checkpoint.pt")
    assert torch.equal(checkpoint["weights"], torch.ones(2))
    resumed = Budget.start(20 / 60, checkpoint)
    assert resumed.step == 70
    assert resumed.fraction == pytest.approx(0.4, abs=0.05)
    assert not list((tmp_path / "run").glob("*.partial"))


def test_curve_forgets_what_a_resumed_run_writes_again(tmp_path) -> None:
    budget = Budget(seconds=10)
    curve = Curve(tmp_path / "curve.jsonl", budget)
    for _ in range(3):
        budget.advance()
        curve.add(loss=1.0)
    Curve(tmp_path / "curve.jsonl", Budget(seconds=10, step=2)).add(loss=0.5)
    lines = [json.loads(line) for line in (tmp_path / "curve.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 2]
    assert lines[-1]["loss"] == 0.5
