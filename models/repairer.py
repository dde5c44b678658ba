"""The repairer: grammar and punctuation of captions, by plain rules, then a T5 model behind a guard.

    caption -> rules and spelling -> T5 -> guard -> rules' text, or the model's where the guard lets it pass

Any T5 of `transformers` works: the embedded one, a grammar model from the hub, T0 with an instruction. Since most
captions come back as they were, the caption itself is checked as the model's answer in one forward pass; only where the
model would write anything else is that written token by token. Both are greedy and give the same text.
The repairer knows nothing of images or of where captions come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, GenerationConfig
from transformers.modeling_outputs import BaseModelOutput

from models.device import run_in_batches
from models.identity import local_directory, model_fingerprint
from models.loading import one_line_errors, torch_dtype
from models.repair_case import mark_case, unmark_case
from models.repair_guard import refusal
from models.repair_number import agree_in_number
from models.repair_rules import apply_rules, bare
from models.repair_spelling import Speller

# Beside an embedded model's weights: how often words were seen. A model without it mends no spelling by rule.
WORDS_FILE = "words.txt"
BATCH_CAPTIONS = 64
# An answer may be this much longer than the caption, in tokens, before it is given up.
_ANSWER_GROWTH, _ANSWER_EXTRA = 1.3, 8
_MEMORY_CAPTIONS = 100_000


@dataclass(frozen=True)
class Repair:
    """``text`` is never worse formed than the caption; ``reason`` says what made it.

    - "unchanged": the caption, but for capital, final period and white space;
    - "rules": what the rules made of it, and the model agreed;
    - "model": the model's answer;
    - "refused: <why>": the rules' text, since the guard refused the model's answer (``accepted`` is False).
    """

    text: str
    accepted: bool
    reason: str


@dataclass(frozen=True)
class _Answer:
    text: str
    # Nats by which the answer is more likely than the caption as it was.
    gain: float
    finished: bool = True


@dataclass(frozen=True)
class _Item:
    """A text in tokens: as the model's input, and as its answer if nothing is to change."""

    text: str
    source: list[int]
    draft: list[int]


class Repairer:
    """Repairs captions; equal captions give equal repairs, whatever else is in the batch."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        instruction: str = "",
        case_marker: bool = False,
        margin: float | None = None,
        speller: Speller | None = None,
        fingerprint: str = "",
        batch_captions: int = BATCH_CAPTIONS,
    ) -> None:
        """``instruction`` holds "{}" where the caption goes, or is put before it; ``margin`` is in nats."""
        self.model = model
        self.tokenizer = tokenizer
        self.instruction = instruction if "{}" in instruction else instruction + "{}"
        self.case_marker = case_marker
        self.margin = margin
        # By caption: what rules and spelling left of it, and the model's answer to that.
        self._proposals: dict[str, tuple[str, _Answer | None]] = {}
        self.speller = speller or Speller({})
        self.fingerprint = fingerprint
        self.batch_captions = batch_captions

    @classmethod
    def load(
        cls,
        source: str,
        *,
        device: str = "cpu",
        dtype: str = "float32",
        revision: str | None = None,
        instruction: str = "",
    ) -> Repairer:
        """From a local directory or a hub name. Raises `ModelError` where there is no such model."""
        with one_line_errors(source):
            directory = local_directory(source)
            name = str(directory) if directory else source
            tokenizer = AutoTokenizer.from_pretrained(name, revision=revision)
            # dtype is named because half-precision files would otherwise load in half precision. T5 overflows in
            # float16 (it was trained in bfloat16), so that is not what it gets.
            torch_type = torch_dtype("bfloat16" if dtype == "float16" else dtype)
            model = AutoModelForSeq2SeqLM.from_pretrained(
                name, revision=revision, dtype=torch_type, use_safetensors=True
            )
            fingerprint = model_fingerprint(source, revision)
            words = directory / WORDS_FILE if directory else None
            speller = Speller.read(words) if words and words.is_file() else None
        settings: dict[str, Any] = getattr(model.config, "cocoscribe", {})
        return cls(
            model.to(device).eval(),
            tokenizer,
            instruction=instruction,
            case_marker=bool(settings.get("case_marker")),
            margin=settings.get("margin"),
            speller=speller,
            fingerprint=fingerprint,
        )

    def repair(self, captions: Sequence[str]) -> list[Repair]:
        """One repair per caption, in order."""
        new = [caption for caption in dict.fromkeys(captions) if caption not in self._proposals]
        if len(self._proposals) + len(new) > _MEMORY_CAPTIONS:
            self._proposals.clear()
            new = list(dict.fromkeys(captions))
        mended = {caption: mend(caption, self.speller) for caption in new}
        texts = [text for text in dict.fromkeys(mended.values()) if text]
        answers = self._answers(texts) if texts else {}
        self._proposals.update({caption: (text, answers.get(text)) for caption, text in mended.items()})
        repairs = {
            caption: self._judge(caption, *self._proposals[caption]) for caption in dict.fromkeys(captions)
        }
        return [repairs[caption] for caption in captions]

    def _judge(self, caption: str, ruled: str, answer: _Answer | None) -> Repair:
        if not ruled:
            return Repair(caption.strip(), False, "refused: empty caption")
        kept = "unchanged" if bare(ruled) == bare(caption) else "rules"
        if answer is None:
            return Repair(ruled, False, "refused: letters that the model does not know")
        if answer.text == ruled:
            return Repair(ruled, True, kept)
        why = "answer too long" if not answer.finished else refusal(ruled, answer.text, self.speller.counts)
        if why is None and self.margin is not None and answer.gain < self.margin:
            why = "not sure enough"
        return Repair(ruled, False, f"refused: {why}") if why else Repair(answer.text, True, "model")

    def _answers(self, texts: list[str]) -> dict[str, _Answer]:
        """The model's greedy answer to each text; none for a text that its vocabulary cannot write."""
        unknown = self.tokenizer.unk_token_id
        items = [
            _Item(text, self._tokens(self.instruction.replace("{}", self._written(text))), draft)
            for text in texts
            if unknown not in (draft := self._tokens(self._written(text)))
        ]
        # Of like length, so that little is padded.
        items.sort(key=lambda item: len(item.source))
        answers, self.batch_captions = run_in_batches(items, self._answer_batch, self.batch_captions)
        return {item.text: answer for item, answer in zip(items, answers, strict=True)}

    def _written(self, text: str) -> str:
        return mark_case(text) if self.case_marker else text

    def _read(self, ids: Tensor) -> str:
        text: str = self.tokenizer.decode(ids, skip_special_tokens=True)
        return apply_rules(unmark_case(text) if self.case_marker else text)

    def _tokens(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text)["input_ids"]
        return ids

    @torch.inference_mode()
    def _answer_batch(self, items: Sequence[_Item]) -> list[_Answer]:
        """Check the texts themselves as answers; write out those where the model prefers something else."""
        inputs, mask = self._padded([item.source for item in items])
        encoded = self.model.get_encoder()(input_ids=inputs, attention_mask=mask).last_hidden_state
        labels, written = self._padded([self._without_start(item.draft) for item in items])
        start = labels.new_full((len(items), 1), self.model.config.decoder_start_token_id)
        logits = self.model(
            encoder_outputs=BaseModelOutput(last_hidden_state=encoded),
            attention_mask=mask,
            decoder_input_ids=torch.cat([start, labels[:, :-1]], dim=1),
        ).logits
        same = ((logits.argmax(-1) == labels) | (written == 0)).all(dim=1)
        answers = [_Answer(item.text, 0.0) for item in items]
        others = (~same).nonzero().flatten()
        if len(others):
            likelihood = (_log_likelihood(logits, labels) * written).sum(dim=1)
            lengths = written.sum(dim=1)
            wanted = self._write(encoded[others], mask[others], lengths[others], likelihood[others])
            for row, answer in zip(others.tolist(), wanted, strict=True):
                answers[row] = answer
        return answers

    def _write(
        self, encoded: Tensor, mask: Tensor, draft_lengths: Tensor, draft_likelihood: Tensor
    ) -> list[_Answer]:
        """Greedy answers of rows ``(B, tokens, width)``, each as long as its draft allows."""
        limits = (draft_lengths * _ANSWER_GROWTH).ceil().long() + _ANSWER_EXTRA
        config = self.model.config
        written = self.model.generate(
            encoder_outputs=BaseModelOutput(last_hidden_state=encoded),
            attention_mask=mask,
            generation_config=GenerationConfig(
                max_new_tokens=int(limits.max()),
                do_sample=False,
                num_beams=1,
                pad_token_id=config.pad_token_id,
                eos_token_id=config.eos_token_id,
                decoder_start_token_id=config.decoder_start_token_id,
                return_dict_in_generate=True,
                output_logits=True,
            ),
        )
        tokens = written.sequences[:, 1:]
        logits = torch.stack(written.logits, dim=1)
        ended = (tokens == config.eos_token_id).long()
        # Up to and with the first end token.
        counted = (ended.cumsum(dim=1) - ended) == 0
        gains = (_log_likelihood(logits, tokens) * counted).sum(dim=1) - draft_likelihood
        finished = (ended.any(dim=1) & (counted.sum(dim=1) <= limits)).tolist()
        return [
            _Answer(self._read(row), gain, done)
            for row, gain, done in zip(tokens, gains.tolist(), finished, strict=True)
        ]

    def _padded(self, rows: list[list[int]]) -> tuple[Tensor, Tensor]:
        """Ids and mask ``(B, longest)``."""
        longest = max(len(row) for row in rows)
        pad = self.model.config.pad_token_id
        ids = torch.tensor([row + [pad] * (longest - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
        return ids.to(self.model.device), mask.to(self.model.device)

    def _without_start(self, ids: list[int]) -> list[int]:
        return ids[1:] if ids[0] == self.model.config.decoder_start_token_id else ids


def mend(caption: str, speller: Speller) -> str:
    """What is done without a model: rules, spelling and number, and the rules again for what these uncovered."""
    ruled = apply_rules(caption)
    spelled = agree_in_number(speller.correct(ruled), speller.counts)
    return ruled if spelled == ruled else apply_rules(spelled)


def _log_likelihood(logits: Tensor, tokens: Tensor) -> Tensor:
    """Log probability of each token, ``(B, tokens)``, from logits ``(B, tokens, vocab)``."""
    chosen = logits.float().log_softmax(dim=-1).gather(2, tokens.unsqueeze(2))
    return chosen.squeeze(2)
