from damon_exporter.analysis.watermarks import is_active


def test_above_high_and_below_low_it_is_held_back_whatever_was_before() -> None:
    for before in (True, False, None):
        assert is_active(501, 500, 400, 200, before) is False
        assert is_active(199, 500, 400, 200, before) is False


def test_below_mid_it_is_active_down_to_low() -> None:
    for before in (True, False, None):
        assert is_active(399, 500, 400, 200, before) is True
        assert is_active(200, 500, 400, 200, before) is True


def test_between_mid_and_high_it_stays_as_it_was() -> None:
    for free in (400, 500):
        for before in (True, False, None):
            assert is_active(free, 500, 400, 200, before) is before
