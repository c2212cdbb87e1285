"""Whether schemes are active is worked out at each look, and only for what was looked at."""

from dataclasses import replace

from made_roster import NODE

from damon_exporter.kernel.scheme_stats import ShownScheme, Watermarks
from damon_exporter.roster import WatchedScheme
from damon_exporter.scheme_activity import SchemeActivity

HELD = replace(
    NODE, schemes=(WatchedScheme("cold", ShownScheme(0, "pageout", {}, None, (), Watermarks(500, 400, 100))),)
)


def test_watermarks_are_compared_with_free_memory() -> None:
    activity = SchemeActivity()
    assert [scheme.active for scheme in activity.told([HELD], 300)[0].schemes or ()] == [True]
    assert [scheme.active for scheme in activity.told([replace(HELD)], 600)[0].schemes or ()] == [False]


def test_what_could_not_be_looked_at_again_stays_as_it_was_and_does_not_pass_for_a_look() -> None:
    activity = SchemeActivity()
    (told,) = activity.told([HELD], 300)
    assert activity.told([told], 600)[0] is told
