"""The captioning engine against stock Hugging Face code and the loop that made LAION-COCO.

    python -m benchmarks.engine [--small] [--rounds 3] [--tokens 12] [--threads N] [--cpu-clock] [--json]
                                [--only decode,growth,clip]

One process, one run, methods in turn; medians of the rounds, in seconds per image. Full-size models with random
weights (BLIP large, CLIP ViT-L/14 and RN50x64; about 5 GB of memory), float32, the number of tokens fixed so that all
methods do the same work. ``all distinct``: every candidate differs from the first token on, the worst case.
``peaked``: a sharper head and the recipe's top_p of 0.24, so that few prefixes differ, as with trained weights. The
original's loop does the same work in both cases and is run once. ``--small`` uses toy sizes on one thread: that
everything runs, not how fast it is. ``--cpu-clock`` counts this process's CPU seconds on one thread: ratios that
hold on a machine that is busy otherwise.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

import models.sampler as sampler
from benchmarks.baselines import original_similarities, original_tokens, stock_similarities, stock_tokens
from models.captioner import preprocess
from models.ranker import Ranker
from models.sampling import Sampling
from models.vision_attention import use_fused_attention
from tests.models.full_size import build_full_clip, random_blip
from tests.models.tiny import WORDS, build_tiny_clip

PROMPT_TOKENS = 4
# Of the head: flat, and such that 40 candidates at the recipe's top_p have about 4 different prefixes per step.
FLAT, PEAKED, PEAKED_SMALL = 1.0, 10.0, 21.0
Row = dict[str, float | str]


@dataclass
class Bench:
    """Options, and the rows found so far."""

    small: bool
    rounds: int
    tokens: int
    clock: Callable[[], float] = time.perf_counter
    rows: list[Row] = field(default_factory=list)

    def sampling(self, **changes: object) -> Sampling:
        """``tokens`` new tokens for every candidate, nothing filtered."""
        flat = Sampling(
            top_p=1.0,
            top_k=0,
            min_new_tokens=self.tokens,
            max_new_tokens=self.tokens,
            force_eos_probability=None,
        )
        return replace(flat, **changes)  # type: ignore[arg-type]

    def in_turn(
        self, methods: dict[str, tuple[Callable[[], object], int]], rounds: int | None = None
    ) -> dict[str, float]:
        """Median seconds of each method, ``(function, most rounds)``; in every round each runs once, in turn."""
        taken: dict[str, list[float]] = {name: [] for name in methods}
        for number in range(rounds or self.rounds):
            for name, (function, most) in methods.items():
                if number < most:
                    start = self.clock()
                    function()
                    taken[name].append(self.clock() - start)
        return {name: statistics.median(times) for name, times in taken.items()}

    def row(self, section: str, case: str, seconds: dict[str, float], **more: float) -> None:
        """Print and keep one line: seconds per image by method, and how many times ours is faster."""
        ours = seconds["ours"]
        ratios = {f"{name}/ours": value / ours for name, value in seconds.items() if name != "ours"}
        self.rows.append({"section": section, "case": case, **seconds, **ratios, **more})
        parts = [f"{name} {value:8.3f} s" for name, value in seconds.items()]
        parts += [f"{name} {value:6.1f}x" for name, value in ratios.items()]
        parts += [f"{name} {value:.4g}" for name, value in more.items()]
        print(f"{section:<10} {case:<44} " + "  ".join(parts), file=sys.stderr, flush=True)


def pictures(number: int, size: int = 480) -> list[Image.Image]:
    """Coarse noise."""
    rng = np.random.default_rng(0)
    return [
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize((size, size))
        for _ in range(number)
    ]


def matmul_peak(clock: Callable[[], float]) -> float:
    """GFLOP/s of the best of some large float32 products."""
    a = torch.randn(3072, 3072)
    times = []
    for _ in range(6):
        start = clock()
        torch.mm(a, a)
        times.append(clock() - start)
    return 2 * 3072**3 / min(times) / 1e9


class Captioning:
    """A random BLIP and the three ways to draw captions from it."""

    def __init__(self, bench: Bench, sharpness: float) -> None:
        self.bench = bench
        self.model = random_blip(small=bench.small, sharpness=sharpness)
        text, vision = self.model.config.text_config, self.model.config.vision_config
        self.end: int = text.sep_token_id
        self.prompt = [text.bos_token_id, 5, 6, 7][:PROMPT_TOKENS]
        self.pixels = torch.from_numpy(np.stack([preprocess(p, vision.image_size) for p in pictures(8)]))
        # Stock code sees with stock attention; ours with the fused one.
        self.stock_states = [self._see(1)]
        self.stock_seconds = self._time(lambda: self._see(1))
        use_fused_attention(self.model.vision_model)

    def _time(self, function: Callable[[], object]) -> float:
        return self.bench.in_turn({"it": (function, 9)})["it"]

    def _see(self, images: int) -> torch.Tensor:
        return self.model.vision_model(pixel_values=self.pixels[:images]).last_hidden_state

    def ours(self, sampling: Sampling, images: int, states: torch.Tensor | None = None) -> object:
        """Tokens of ``images`` images, from pixels unless ``states`` are given."""
        states = self._see(images) if states is None else states
        keys = [f"row {number}" for number in range(images)]
        return sampler.sample(self.model.text_decoder, states, keys, self.prompt, sampling, self.end)

    def compare(self, case: str, sampling: Sampling, images: int, *, original: bool) -> dict[str, float]:
        """Decode-only and pixels-to-tokens rows; seconds per image of the latter by method."""
        model, prompt = self.model, self.prompt
        states, one = self._see(images), self.stock_states[0]
        methods: dict[str, tuple[Callable[[], object], int]] = {
            "ours": (lambda: self.ours(sampling, images, states), 9),
            "stock": (lambda: stock_tokens(model, one, prompt, sampling, self.end), 9),
        }
        if original:
            methods["original"] = (lambda: original_tokens(model, one, prompt, sampling, self.end), 1)
        seconds = self.bench.in_turn(methods)
        seconds["ours"] /= images
        self.bench.row("decode", case, seconds, prefixes_per_step=self._prefixes(sampling, images))
        seen = self._time(lambda: self._see(images)) / images
        whole = {
            name: value + (seen if name == "ours" else self.stock_seconds) for name, value in seconds.items()
        }
        self.bench.row("pixels", case, whole)
        return whole

    def _prefixes(self, sampling: Sampling, images: int) -> float:
        """Mean number of different prefixes per image and step, of a draw that is not timed."""
        drawn = sampler.sample(
            self.model.text_decoder,
            self._see(images),
            [f"row {number}" for number in range(images)],
            self.prompt,
            sampling,
            self.end,
        )
        steps = range(1, self.bench.tokens)
        return float(np.mean([len({tokens[:step] for tokens in image}) for image in drawn for step in steps]))

    def efficiency(self, sampling: Sampling, images: int) -> None:
        """Share of the machine's matrix peak, pixels to tokens, all distinct; FLOP per image."""
        counter = FlopCounterMode(display=False)
        with counter:
            self.ours(sampling, images)
        seconds = self._time(lambda: self.ours(sampling, images)) / images
        gflops, peak = counter.get_total_flops() / images / 1e9, matmul_peak(self.bench.clock)
        self.bench.row(
            "peak", f"all distinct, {images} image{'s' * (images > 1)} per batch", {"ours": seconds},
            gflop=gflops, gflop_per_s=gflops / seconds, peak_gflop_per_s=peak, share=gflops / seconds / peak,
        )  # fmt: skip

    def growth(self, name: str) -> None:
        """Ours by candidates, images per batch and tokens, from pixels, seconds per image."""
        few = 2 if self.bench.small else 1
        recipe = {"top_p": Sampling.top_p, "top_k": Sampling.top_k} if name == "peaked" else {}
        for candidates in (10, 40, 160):
            sampling = self.bench.sampling(candidates=candidates, **recipe)
            self._grow(f"{name}, {candidates} candidates", sampling, 1, few)
        for images in (1, 4, 8):
            self._grow(f"{name}, {images} images per batch", self.bench.sampling(**recipe), images, few)
        for tokens in (self.bench.tokens, 2 * self.bench.tokens, 45):
            sampling = self.bench.sampling(min_new_tokens=tokens, max_new_tokens=tokens, **recipe)
            self._grow(f"{name}, {tokens} tokens", sampling, 1, few)

    def _grow(self, case: str, sampling: Sampling, images: int, rounds: int) -> None:
        seconds = self.bench.in_turn({"ours": (lambda: self.ours(sampling, images), 9)}, rounds)
        self.bench.row("growth", case, {"ours": seconds["ours"] / images})


def captions(number: int, words: int = 10) -> list[str]:
    """Different captions of ``words`` words."""
    rng = np.random.default_rng(0)
    plain = [word for word in WORDS if word.isalpha() and len(word) > 1]
    return [" ".join(rng.choice(plain, words)) for _ in range(number)]


def clip(bench: Bench, name: str, texts: int, different: int) -> dict[str, float]:
    """Ranking ``texts`` captions of one picture, ``different`` of them, by method, in seconds per picture."""
    with tempfile.TemporaryDirectory() as folder:
        directory = build_tiny_clip(Path(folder)) if bench.small else build_full_clip(Path(folder), name)
        ranker = Ranker.load(str(directory))
    picture = pictures(1)
    given = (captions(different) * texts)[:texts]
    pixels, tokens = ranker.preprocess(picture[0])[None], ranker.tokenizer(given)
    seconds = bench.in_turn(
        {
            "ours": (lambda: ranker.similarities(picture, [given]), 9),
            "stock": (lambda: stock_similarities(ranker, pixels, tokens), 9),
            "original": (lambda: original_similarities(ranker, pixels, tokens), 1),
        }
    )
    bench.row("clip", f"{name}, {texts} captions, {different} different", seconds)
    return seconds


@torch.inference_mode()
def run(bench: Bench, only: set[str]) -> None:
    """All sections, one model in memory at a time."""
    captioned: dict[str, dict[str, float]] = {}
    flat, recipe = bench.sampling(), bench.sampling(top_p=Sampling.top_p, top_k=Sampling.top_k)
    for name, sharpness, sampling in (
        ("all distinct", FLAT, flat),
        ("peaked", PEAKED_SMALL if bench.small else PEAKED, recipe),
    ):
        if only & {"decode", "growth"}:
            captioning = Captioning(bench, sharpness)
        if "decode" in only:
            # The original's loop is run once: it does the same work whatever is drawn.
            first = captioning.compare(f"{name}, 1 image per batch", sampling, 1, original=not captioned)
            original = first.get("original") or captioned["all distinct"]["original"]
            batched = captioning.compare(f"{name}, 4 images per batch", sampling, 4, original=False)
            captioned[name] = {**batched, "original": original}
            bench.row("pixels", f"{name}, 4 images per batch, with the original", captioned[name])
            if name != "peaked":
                captioning.efficiency(sampling, 1)
                captioning.efficiency(sampling, 4)
        if "growth" in only:
            captioning.growth(name)
        captioning = None  # type: ignore[assignment]
        gc.collect()
    if "clip" in only:
        ranked = {
            "all distinct": (clip(bench, "ViT-L-14", 40, 40), clip(bench, "RN50x64", 5, 5)),
            "peaked": (clip(bench, "ViT-L-14", 40, 3), clip(bench, "RN50x64", 5, 3)),
        }
        for name, found in captioned.items():
            whole = {method: found[method] + sum(part[method] for part in ranked[name]) for method in found}
            bench.row("recipe", f"{name}, without repair (sum of the parts above)", whole)


def main() -> None:
    """Read the options, run, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--small", action="store_true", help="toy models: seconds, for CI")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=12)
    parser.add_argument("--threads", type=int, help="torch threads; all cores if not given, 1 with --small")
    parser.add_argument(
        "--cpu-clock", action="store_true", help="CPU seconds of one thread, for a busy machine"
    )
    parser.add_argument("--only", default="decode,growth,clip", help="sections, comma-separated")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    options = parser.parse_args()
    threads = options.threads or (1 if options.small or options.cpu_clock else None)
    if threads:
        torch.set_num_threads(threads)
    bench = Bench(
        options.small,
        options.rounds,
        options.tokens,
        time.process_time if options.cpu_clock else time.perf_counter,
    )
    run(bench, set(options.only.split(",")))
    if options.json:
        print(json.dumps({"threads": torch.get_num_threads(), "small": options.small, "rows": bench.rows}))


if __name__ == "__main__":
    main()
