from __future__ import annotations

from flows.demo.faults import FAULTS, PUBLISHED, expected_rejections, healthy


def test_names_and_rows_are_unique_and_the_first_row_is_plain():
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
    rows = [fault.row for fault in FAULTS]
    assert len(set(rows)) == len(FAULTS)
    assert min(rows) > 0


def test_every_required_fault_is_planted():
    required = {
        "not-found", "heals", "endless", "html", "truncated", "giant", "noai", "to-private", "duplicate",
        "cmyk", "alpha", "rotated", "null", "invalid", "ftp",
    }  # fmt: skip
    assert required <= {fault.name for fault in FAULTS}


def test_odd_but_healthy_rows_are_to_be_published():
    assert {"heals", "cmyk", "alpha", "rotated"} <= {fault.name for fault in healthy()}


def test_expected_rejections_count_the_rows_asked_for():
    whole = expected_rejections(10_000)
    assert sum(whole.values()) + len(healthy()) == len(FAULTS)
    assert PUBLISHED not in whole
    assert expected_rejections(1) == {}
    last = FAULTS[-1]
    assert expected_rejections(last.row).get(last.outcome, 0) == whole[last.outcome] - 1
