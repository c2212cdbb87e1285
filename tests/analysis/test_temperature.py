"""Temperature of regions, and one line of it."""

import pytest
from made_regions import INTERVALS, regions

from damon_exporter.analysis.temperature import Column, columns, temperatures

AGE_UNIT_US = 100_000


def test_what_is_accessed_is_the_hotter_the_longer_and_what_is_not_the_colder() -> None:
    made = regions((0, 1, 10, 0), (1, 2, 10, 3), (2, 3, 0, 3), (3, 4, 0, 0))
    assert temperatures(made, INTERVALS, AGE_UNIT_US).tolist() == [5_000, 30_005_000, -30_000_000, 0]


def test_columns_have_the_mean_temperature_by_bytes() -> None:
    made = regions((0, 300, 20, 0), (300, 400, 0, 1))
    width, found = columns(made, temperatures(made, INTERVALS, AGE_UNIT_US), 2)
    assert width == 200
    assert found == [Column(0, 200, 10_000), Column(200, 400, pytest.approx((10_000 - 10_000_000) / 2))]


def test_a_gap_is_one_column_up_to_where_the_next_region_is() -> None:
    made = regions((0, 200, 20, 0), (1000, 1200, 20, 0))
    _, found = columns(made, temperatures(made, INTERVALS, AGE_UNIT_US), 4)
    assert [(column.start, column.end) for column in found if column.temperature is None] == [(200, 1000)]
    assert len(found) == 5


def test_regions_without_a_size_have_no_columns() -> None:
    assert columns(regions((5, 5, 1, 0)), temperatures(regions((5, 5, 1, 0)), INTERVALS, AGE_UNIT_US), 4) == (0, [])
