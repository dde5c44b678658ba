"""Muon for hidden matrices, AdamW for everything else, behind one optimiser.

Muon (Keller Jordan, 2024, https://kellerjordan.github.io/posts/muon/) steps by the orthogonalised momentum
of a matrix. torch has a stock ``torch.optim.Muon``; it is not used here for three reasons that matter on a
CPU with small models: it orthogonalises in bfloat16 (slower than float32 on a CPU), it takes two-dimensional
weights only (a ModifiedResNet is made of convolutions), and it treats a fused query/key/value projection as
one matrix, where each of the three should be orthogonal. Equal shapes are stacked: few, larger products.

Knows nothing of models or budgets: who calls it sets the rate.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

# Quintic coefficients of the reference implementation: the steepest slope at zero, not exact convergence, so
# singular values end between about .7 and 1.2.
NEWTON_SCHULZ_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
# Looked up in a parameter's name: inputs, outputs and tables are no hidden matrices.
NOT_HIDDEN = (
    "embed",
    "position",
    "head",
    "cls",
    "logit",
    "predictions",
    "class_",
    "relative_attention_bias",
    "shared",
)
# Projections that hold query, key and value stacked along the rows.
FUSED_QKV = ("qkv", "in_proj_weight")


def orthogonalize(matrices: Tensor, steps: int = 5) -> Tensor:
    """``(batch, rows, columns)`` -> nearest semi-orthogonal matrices, roughly, by Newton-Schulz iteration."""
    a, b, c = NEWTON_SCHULZ_COEFFICIENTS
    tall = matrices.size(1) > matrices.size(2)
    x = matrices.transpose(1, 2) if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.transpose(1, 2)
        x = a * x + (b * gram + c * gram @ gram) @ x
    result: Tensor = x.transpose(1, 2) if tall else x
    return result


def is_hidden_matrix(name: str, parameter: Tensor) -> bool:
    """Whether Muon should move it: a matrix or convolution, but no embedding, position table or head."""
    if parameter.ndim < 2 or min(parameter.flatten(1).shape) < 8:
        return False
    return not any(word in name for word in NOT_HIDDEN)


def is_fused_qkv(name: str) -> bool:
    return any(word in name for word in FUSED_QKV)


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised. A group's ``splits`` counts the matrices stacked in a parameter."""

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        lr: float,
        momentum: float = 0.95,
        steps: int = 5,
        weight_decay: float = 0.0,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "steps": steps, "weight_decay": weight_decay, "splits": 1}
        super().__init__(groups, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step. Parameters without gradient stay where they are."""
        if closure is not None:
            raise ValueError("Muon takes no closure")
        for group in self.param_groups:
            by_shape: defaultdict[tuple[int, ...], list[Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape[tuple(parameter.shape)].append(parameter)
            for parameters in by_shape.values():
                self._step_alike(parameters, group)

    def _step_alike(self, parameters: list[Tensor], group: Mapping[str, Any]) -> None:
        updates = []
        for parameter in parameters:
            assert parameter.grad is not None
            state = self.state[parameter]
            if "momentum" not in state:
                state["momentum"] = torch.zeros_like(parameter)
            velocity: Tensor = state["momentum"]
            velocity.lerp_(parameter.grad, 1 - group["momentum"])
            update = parameter.grad.lerp(velocity, group["momentum"]).flatten(1)
            updates.append(update.view(group["splits"], -1, update.size(1)))
        stacked = orthogonalize(torch.cat(updates), group["steps"])
        # The reference's scale: a tall matrix gets a larger step, so that its effect on activations is alike.
        stacked *= max(1.0, stacked.size(1) / stacked.size(2)) ** 0.5
        for parameter, update in zip(parameters, torch.split(stacked, group["splits"]), strict=True):
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            parameter.add_(update.reshape(parameter.shape), alpha=-group["lr"])


class MuonWithAdamW:
    """One optimiser over two: :class:`Muon` for hidden matrices and AdamW for the rest.

    ``hidden`` decides by name and parameter; the default is :func:`is_hidden_matrix`. Weight
    decay is AdamW's and only for matrices; Muon's is 0 unless given.
    """

    def __init__(
        self,
        named_parameters: Iterable[tuple[str, nn.Parameter]],
        *,
        muon_lr: float,
        adamw_lr: float = 1.5e-3,
        hidden: Callable[[str, Tensor], bool] = is_hidden_matrix,
        betas: tuple[float, float] = (0.9, 0.98),
        weight_decay: float = 0.01,
        muon_weight_decay: float = 0.0,
    ) -> None:
        plain: list[nn.Parameter] = []
        fused: list[nn.Parameter] = []
        decayed: list[nn.Parameter] = []
        undecayed: list[nn.Parameter] = []
        for name, parameter in named_parameters:
            if not parameter.requires_grad:
                continue
            if hidden(name, parameter):
                (fused if is_fused_qkv(name) else plain).append(parameter)
            else:
                (decayed if parameter.ndim > 1 else undecayed).append(parameter)
        groups = [{"params": plain, "splits": 1}, {"params": fused, "splits": 3}]
        self.muon = (
            Muon([g for g in groups if g["params"]], muon_lr, weight_decay=muon_weight_decay)
            if (plain or fused)
            else None
        )
        self.adamw = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": weight_decay}, {"params": undecayed, "weight_decay": 0.0}],
            lr=adamw_lr,
            betas=betas,
        )
        self._peaks = (muon_lr, adamw_lr)

    def set_rate(self, rate: float, muon_rate: float | None = None) -> None:
        """Both rates to ``rate`` times their peak, 0 to 1; Muon's to ``muon_rate`` times its own if given."""
        rates = (rate if muon_rate is None else muon_rate, rate)
        for optimizer, peak, factor in zip((self.muon, self.adamw), self._peaks, rates, strict=True):
            if optimizer is not None:
                for group in optimizer.param_groups:
                    group["lr"] = peak * factor

    def zero_grad(self) -> None:
        for optimizer in (self.muon, self.adamw):
            if optimizer is not None:
                optimizer.zero_grad(set_to_none=True)

    def step(self) -> None:
        for optimizer in (self.muon, self.adamw):
            if optimizer is not None:
                optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        return {"muon": self.muon.state_dict() if self.muon else None, "adamw": self.adamw.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if self.muon is not None:
            self.muon.load_state_dict(state["muon"])
        self.adamw.load_state_dict(state["adamw"])
