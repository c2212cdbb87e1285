"""Panels whose queries calculate: whether what comes out is what it is called, of numbers that are easy to check."""

from pathlib import Path

from boards.grafana import ALL
from boards.observatory import RULES
from boards.panel_values import Evidence, Expected

CHOSEN = {
    "cluster": ALL,
    "job": "j",
    "instance": "a",
    "monitor": "n",
    "target": "physical",
    "namespace": "shop",
    "container": ALL,
    "__rate_interval": "5m",
    "__range": "10m",
}
RECORDING = [path for path in RULES if path.stem == "recording"]
HOST = 'job="j", instance="a", monitor="n"'
PHYSICAL = f'{HOST}, target="physical"'
POD = f'{HOST}, namespace="shop", pod="p", container="c"'
GONE = POD.replace('pod="p"', 'pod="gone"')
UNIT = f'{HOST}, cgroup="/system.slice/db.service"'
SCHEME = f'{HOST}, scheme="s", action="pageout"'
IDLE = {"60.0": 100, "300.0": 300, "1800.0": 600, "3600.0": 700, "+Inf": 1000}
"""Bytes of a histogram of idle ages, up to each bound."""
WOKEN = {"60.0": 6000, "300.0": 6600, "1800.0": 6900, "3600.0": 6960, "+Inf": 7000}
"""Bytes that wake up in a minute, up to each bound."""
OBSERVED = 20
"""Seconds of each minute that are observed."""

SERIES = {
    **{f'damon_idle_age_seconds_bucket{{{PHYSICAL}, le="{le}"}}': f"{size}x20" for le, size in IDLE.items()},
    **{f'damon_reaccess_idle_age_seconds_bucket{{{PHYSICAL}, le="{le}"}}': f"0+{n}x20" for le, n in WOKEN.items()},
    f"damon_observed_seconds_total{{{PHYSICAL}}}": f"0+{OBSERVED}x20",
    f'damon_heatmap_access_seconds_total{{{PHYSICAL}, bin="0"}}': "0+5x20",
    f'damon_access_band_byte_seconds_total{{{PHYSICAL}, band="hot"}}': "0+2000x20",
    **{f'damon_cgroup_idle_age_seconds_bucket{{{POD}, le="{le}"}}': f"{size}x20" for le, size in IDLE.items()},
    f"damon_scheme_tried_bytes_total{{{SCHEME}}}": "0+6000x20",
    f"damon_scheme_applied_bytes_total{{{SCHEME}}}": "0+1500x20",
}


def by_bound(labels: str, values: dict[str, float]) -> dict[str, float]:
    return {f'{{{labels}le="{le}"}}': value for le, value in values.items()}


def test_panels_of_one_node_show_what_they_say(tmp_path: Path) -> None:
    of_target = 'monitor="n", target="physical", '
    what_if = "What if memory were reclaimed at idle age T?"
    expected = [
        Expected("damon-node", "Touched within 5 min", {'{monitor="n", target="physical"}': 300}),
        Expected(
            "damon-node",
            f"{what_if}: Freed",
            by_bound(of_target, {"60.0": 900, "300.0": 700, "1800.0": 400, "3600.0": 300}),
        ),
        Expected(
            "damon-node",
            f"{what_if}: Coming back",
            by_bound(of_target, {"60.0": 50, "300.0": 20, "1800.0": 5, "3600.0": 2}),
        ),
        Expected("damon-node", "Heat by address: {{bin}}", {f'{{{PHYSICAL}, bin="0"}}': 0.25}),
        Expected("damon-node", "Memory by how often it is accessed: {{band}}", {f'{{{PHYSICAL}, band="hot"}}': 100}),
        Expected(
            "damon-schemes",
            "Efficiency: {{monitor}} {{scheme}} ({{action}})",
            {'{monitor="n", scheme="s", action="pageout"}': 0.25},
        ),
        Expected(
            "damon-target",
            "Cold for an hour: {{namespace}}/{{pod}} {{container}}",
            {'{namespace="shop", pod="p", container="c"}': 300},
        ),
    ]

    assert Evidence(SERIES, "1m").objections(tmp_path, expected, CHOSEN, "15m") == ""


def test_panels_of_the_fleet_add_up_nodes_and_workloads(tmp_path: Path) -> None:
    """Of a second node that has as much, on which another pod of the workload runs, and of a service."""
    other = {
        name.replace('instance="a"', 'instance="b"').replace('pod="p"', 'pod="q"'): values
        for name, values in SERIES.items()
    }
    unit = {f'damon_cgroup_idle_age_seconds_bucket{{{UNIT}, le="{le}"}}': f"{size}x20" for le, size in IDLE.items()}
    cold = {'{namespace="shop", container="c"}': 2 * 700, '{cgroup="/system.slice/db.service"}': 700}
    expected = [
        Expected("damon-fleet", "Nodes", {"{}": 2}),
        Expected("damon-fleet", "Reclaimable at 1 min", {"{}": 3 * 900}),
        Expected("damon-fleet", "Reclaimable at 5 min", {"{}": 3 * 700}),
        Expected("damon-fleet", "Reclaimable at 30 min", {"{}": 3 * 400}),
        Expected("damon-fleet", "Most cold memory: {{namespace}} {{container}} {{cgroup}}", cold),
        Expected(
            "damon-fleet",
            "What would come back: {{le}} s",
            by_bound("", {"60.0": 2 * 50, "300.0": 2 * 20, "1800.0": 2 * 5, "3600.0": 2 * 2}),
        ),
    ]

    assert Evidence(SERIES | other | unit, "1m", RECORDING).objections(tmp_path, expected, CHOSEN, "15m") == ""


def test_a_container_is_sized_by_the_highest_but_for_a_hundredth_of_a_week(tmp_path: Path) -> None:
    """It touches a byte more every five minutes, for eight days. What has gone is not sized any more."""
    now = 8 * 24 * 12
    first = now - 7 * 24 * 12 + 1
    p99 = first + 0.99 * (now - first)
    series = {
        f'container:damon_touched_bytes:max{{{POD}, le="300.0"}}': f"0+1x{now}",
        f'container:damon_touched_bytes:max{{{GONE}, le="300.0"}}': f"0+1x{now - 9} stale",
        f'damon_cgroup_idle_age_seconds_bucket{{{POD}, le="+Inf"}}': f"9000x{now}",
    }
    container = '{namespace="shop", pod="p", container="c"}'
    expected = [
        Expected("damon-target", "Rightsizing: Working set, p99 of a week", {container: p99}),
        Expected("damon-target", "Rightsizing: Suggested request", {container: 1.2 * p99}),
        Expected("damon-target", "Rightsizing: Charged", {container: 9000}),
    ]

    assert Evidence(series, "5m").objections(tmp_path, expected, CHOSEN, "8d") == ""


def test_pods_of_one_name_in_two_clusters_are_two(tmp_path: Path) -> None:
    sizes = {"eu": (20, 100), "us": (60, 60)}
    series = {
        f'damon_cgroup_idle_age_seconds_bucket{{cluster="{cluster}", {POD}, le="{le}"}}': f"{size}x20"
        for cluster, both in sizes.items()
        for le, size in zip(("3600.0", "+Inf"), both, strict=True)
    }
    container = 'namespace="shop", pod="p", container="c"'
    cold = Expected(
        "damon-target",
        "Cold for an hour: {{namespace}}/{{pod}} {{container}}",
        {f'{{cluster="eu", {container}}}': 80, f'{{cluster="us", {container}}}': 0},
    )

    assert Evidence(series, "1m").objections(tmp_path, [cold], CHOSEN, "15m") == ""
