"""The row checks as Great Expectations classes: each looks for one defect, in whole columns at once.

The built-in length check looks at the text *form* of a list, and is silently wrong on list columns; for captions there
is nothing built in. The frame these are given holds Arrow-backed columns, so that the checks of ``caption_text`` and
``candidate_lists`` get them without a copy. Importing this module registers the metrics with Great Expectations.
"""

from __future__ import annotations

from typing import Any, ClassVar

import pandas as pd
import pyarrow as pa
from great_expectations.execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import ColumnMapExpectation, MulticolumnMapExpectation
from great_expectations.expectations.metrics.map_metric_provider import (
    ColumnMapMetricProvider,
    MulticolumnMapMetricProvider,
    column_condition_partial,
    multicolumn_condition_partial,
)

from expectations import candidate_lists, caption_text

Column = pd.Series  # of any type; conditions are boolean, with the index of what they were given


def _arrow(column: Column) -> pa.Array:
    """The values as one Arrow array, without a copy where they are Arrow's already."""
    array = pa.array(column.array)
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def _series(flags: caption_text.Flags, like: Column | pd.DataFrame) -> Column:
    return pd.Series(flags, index=like.index)


class ColumnsExpectation(MulticolumnMapExpectation):
    """A check of each row by several columns; null counts as a value, so every row is judged."""

    ignore_row_if: str = "never"
    args_keys = ("column_list",)


class CaptionLettersMetric(ColumnMapMetricProvider):
    condition_metric_name = "cocoscribe.caption_letters"

    @column_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column: Column, **kwargs: Any) -> Column:
        return _series(caption_text.holds_letters(_arrow(column)), column)


class ExpectCaptionToHoldLetters(ColumnMapExpectation):
    """The caption is neither empty nor made of punctuation."""

    map_metric = CaptionLettersMetric.condition_metric_name


class CaptionWordsMetric(ColumnMapMetricProvider):
    condition_metric_name = "cocoscribe.caption_words"
    condition_value_keys = ("min_words", "max_words")

    @column_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column: Column, min_words: int, max_words: int, **kwargs: Any) -> Column:
        return _series(caption_text.words_between(_arrow(column), min_words, max_words), column)


class ExpectCaptionWordsToBeBetween(ColumnMapExpectation):
    """The caption has at least ``min_words`` and at most ``max_words`` words."""

    min_words: int = 0
    max_words: int = 1_000_000
    map_metric = CaptionWordsMetric.condition_metric_name
    success_keys: ClassVar[tuple[str, ...]] = ("mostly", "min_words", "max_words")


class CaptionPromptMetric(ColumnMapMetricProvider):
    condition_metric_name = "cocoscribe.caption_prompt"
    condition_value_keys = ("prompt",)

    @column_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column: Column, prompt: str, **kwargs: Any) -> Column:
        return _series(caption_text.free_of_prompt(_arrow(column), prompt), column)


class ExpectCaptionToBeFreeOfPrompt(ColumnMapExpectation):
    """The caption does not start with the captioner's prompt."""

    prompt: str
    map_metric = CaptionPromptMetric.condition_metric_name
    success_keys: ClassVar[tuple[str, ...]] = ("mostly", "prompt")


class CaptionModelTokensMetric(ColumnMapMetricProvider):
    condition_metric_name = "cocoscribe.caption_model_tokens"

    @column_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column: Column, **kwargs: Any) -> Column:
        return _series(caption_text.free_of_model_tokens(_arrow(column)), column)


class ExpectCaptionToBeFreeOfModelTokens(ColumnMapExpectation):
    """The caption holds no special token, word piece or control character."""

    map_metric = CaptionModelTokensMetric.condition_metric_name


class CaptionRepeatedWordsMetric(ColumnMapMetricProvider):
    condition_metric_name = "cocoscribe.caption_repeated_words"

    @column_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column: Column, **kwargs: Any) -> Column:
        return _series(caption_text.free_of_repeated_words(_arrow(column)), column)


class ExpectCaptionToBeFreeOfRepeatedWords(ColumnMapExpectation):
    """No word, and no pair of words, follows itself."""

    map_metric = CaptionRepeatedWordsMetric.condition_metric_name


class CaptionRepeatedTrigramsMetric(ColumnMapMetricProvider):
    condition_metric_name = "cocoscribe.caption_repeated_trigrams"

    @column_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column: Column, **kwargs: Any) -> Column:
        return _series(caption_text.free_of_repeated_trigrams(_arrow(column)), column)


class ExpectCaptionToBeFreeOfRepeatedTrigrams(ColumnMapExpectation):
    """No three words in a row occur twice in the caption."""

    map_metric = CaptionRepeatedTrigramsMetric.condition_metric_name


class CaptionFileNameMetric(ColumnMapMetricProvider):
    condition_metric_name = "cocoscribe.caption_file_name"

    @column_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column: Column, **kwargs: Any) -> Column:
        return _series(caption_text.free_of_file_names(_arrow(column)), column)


class ExpectCaptionToBeFreeOfFileNames(ColumnMapExpectation):
    """The caption holds no image file name and no address."""

    map_metric = CaptionFileNameMetric.condition_metric_name


class CaptionCutOffMetric(ColumnMapMetricProvider):
    condition_metric_name = "cocoscribe.caption_cut_off"

    @column_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column: Column, **kwargs: Any) -> Column:
        return _series(caption_text.not_cut_off(_arrow(column)), column)


class ExpectCaptionNotToBeCutOff(ColumnMapExpectation):
    """The caption does not end in an article or conjunction."""

    map_metric = CaptionCutOffMetric.condition_metric_name


class CaptionScriptMetric(ColumnMapMetricProvider):
    condition_metric_name = "cocoscribe.caption_script"

    @column_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column: Column, **kwargs: Any) -> Column:
        return _series(caption_text.in_latin_script(_arrow(column)), column)


class ExpectCaptionToBeInLatinScript(ColumnMapExpectation):
    """The caption is written in Latin letters."""

    map_metric = CaptionScriptMetric.condition_metric_name


class CaptionPunctuationMetric(ColumnMapMetricProvider):
    condition_metric_name = "cocoscribe.caption_punctuation"

    @column_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column: Column, **kwargs: Any) -> Column:
        return _series(caption_text.balanced_punctuation(_arrow(column)), column)


class ExpectCaptionPunctuationToBeBalanced(ColumnMapExpectation):
    """Brackets and quotes come in pairs, and no mark stands doubled."""

    map_metric = CaptionPunctuationMetric.condition_metric_name


class CaptionAltTextMetric(MulticolumnMapMetricProvider):
    condition_metric_name = "cocoscribe.caption_alt_text"

    @multicolumn_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column_list: pd.DataFrame, **kwargs: Any) -> Column:
        return _series(
            ~caption_text.same_text(_arrow(column_list.iloc[:, 0]), _arrow(column_list.iloc[:, 1])),
            column_list,
        )


class ExpectCaptionToDifferFromAltText(ColumnsExpectation):
    """The caption (first column) is not the web's alt-text (second column)."""

    map_metric = CaptionAltTextMetric.condition_metric_name


class CosinesMetric(ColumnMapMetricProvider):
    condition_metric_name = "cocoscribe.cosines"

    @column_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column: Column, **kwargs: Any) -> Column:
        return _series(candidate_lists.cosines_in_range(_arrow(column)), column)


class ExpectListValuesToBeCosines(ColumnMapExpectation):
    """Every value of the list lies in [-1, 1]."""

    map_metric = CosinesMetric.condition_metric_name


class FallingMetric(ColumnMapMetricProvider):
    condition_metric_name = "cocoscribe.falling"

    @column_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column: Column, **kwargs: Any) -> Column:
        return _series(candidate_lists.falling(_arrow(column)), column)


class ExpectListValuesToFall(ColumnMapExpectation):
    """No value of the list is greater than the one before it."""

    map_metric = FallingMetric.condition_metric_name


class EqualLengthsMetric(MulticolumnMapMetricProvider):
    condition_metric_name = "cocoscribe.equal_lengths"

    @multicolumn_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column_list: pd.DataFrame, **kwargs: Any) -> Column:
        good = candidate_lists.equally_long(_arrow(column_list.iloc[:, 0]), _arrow(column_list.iloc[:, 1]))
        return _series(good, column_list)


class ExpectListsToBeEquallyLong(ColumnsExpectation):
    """Both lists of a row have as many values."""

    map_metric = EqualLengthsMetric.condition_metric_name


class FinalistsMetric(MulticolumnMapMetricProvider):
    condition_metric_name = "cocoscribe.finalists"

    @multicolumn_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column_list: pd.DataFrame, **kwargs: Any) -> Column:
        good = candidate_lists.finalists_fit(_arrow(column_list.iloc[:, 0]), _arrow(column_list.iloc[:, 1]))
        return _series(good, column_list)


class ExpectFinalistsToFitCandidates(ColumnsExpectation):
    """The second column, finalists, is null or holds two to as many values as the first, candidates."""

    map_metric = FinalistsMetric.condition_metric_name


class UniqueListMetric(ColumnMapMetricProvider):
    condition_metric_name = "cocoscribe.unique_list"

    @column_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column: Column, **kwargs: Any) -> Column:
        return _series(candidate_lists.without_duplicates(_arrow(column)), column)


class ExpectListValuesToBeUnique(ColumnMapExpectation):
    """No text occurs twice in the list."""

    map_metric = UniqueListMetric.condition_metric_name


class ContainedMetric(MulticolumnMapMetricProvider):
    condition_metric_name = "cocoscribe.contained"

    @multicolumn_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column_list: pd.DataFrame, **kwargs: Any) -> Column:
        good = candidate_lists.contains(_arrow(column_list.iloc[:, 0]), _arrow(column_list.iloc[:, 1]))
        return _series(good, column_list)


class ExpectListToContainValue(ColumnsExpectation):
    """The list (first column) contains the row's text (second column)."""

    map_metric = ContainedMetric.condition_metric_name


class TopSimilarityMetric(MulticolumnMapMetricProvider):
    condition_metric_name = "cocoscribe.top_similarity"

    @multicolumn_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column_list: pd.DataFrame, **kwargs: Any) -> Column:
        columns = [_arrow(column_list.iloc[:, position]) for position in range(4)]
        return _series(candidate_lists.value_at_match(*columns), column_list)


class ExpectTopSimilarityToBeTheWinners(ColumnsExpectation):
    """Of the columns captions, similarities, winner, top similarity: the last is the winner's in the second."""

    map_metric = TopSimilarityMetric.condition_metric_name


class RepairToldMetric(MulticolumnMapMetricProvider):
    condition_metric_name = "cocoscribe.repair_told"

    @multicolumn_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column_list: pd.DataFrame, **kwargs: Any) -> Column:
        columns = [_arrow(column_list.iloc[:, position]) for position in range(3)]
        return _series(candidate_lists.repair_told(*columns), column_list)


class ExpectRepairToBeTold(ColumnsExpectation):
    """Of the columns raw caption, caption, repair: the last says what was done to the first to get the second."""

    map_metric = RepairToldMetric.condition_metric_name
