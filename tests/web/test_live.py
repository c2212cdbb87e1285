"""The live page in a real browser."""

import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from itertools import groupby, pairwise
from pathlib import Path

import numpy as np
import pytest
from browser import chromium, look_like
from example_state import DATABASES, DOWN, HOSTILE_NAME, NODE, PHYSICAL, POSTGRES, SCHEMES, STATE
from made_regions import INTERVALS, regions
from running import COMMAND, Running
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.ui import WebDriverWait

from damon_exporter.analysis.snapshot import Regions, Snapshot
from damon_exporter.escaping import printable
from damon_exporter.published import Published
from damon_exporter.sources.recording import RecordedMonitor, write_recording
from damon_exporter.state import Heatmap, MonitorState, NodeState, SchemeState, TargetState
from damon_exporter.web import landing
from damon_exporter.web.app import make_app
from damon_exporter.web.messages import Request, Response
from damon_exporter.web.server import Server

pytestmark = pytest.mark.xdist_group("browser")  # one browser is enough

SECONDS = 30
BEGAN = 4_000_000_000.0
"""Later than any test runs: the end of the pictures is then the newest snapshot, not the clock."""
MINUS = "\N{MINUS SIGN}"
BRIGHT, DARK = (254, 232, 56), (0, 34, 78)

COLUMNS = """
const canvas = document.getElementById("heat"), bins = canvas.height;
return arguments[0].map((fromRight) => {
  const {data} = canvas.getContext("2d").getImageData(canvas.width - 1 - fromRight, 0, 1, bins);
  return Array.from({length: bins}, (_, i) => [...data.slice((bins - 1 - i) * 4, (bins - 1 - i) * 4 + 4)]);
});
"""
"""The colours of columns of the heatmap, counted from the right, each from the lowest bin on."""

Pixel = tuple[int, int, int, int]


@pytest.fixture(scope="module")
def chrome() -> Iterator[Chrome]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def browser(chrome: Chrome) -> Iterator[Chrome]:
    """A blank page; at the end nothing may have been complained about, by scripts or the network."""
    chrome.get("about:blank")
    chrome.get_log("browser")
    look_like(chrome, 1280, 800)
    yield chrome
    assert complaints(chrome) == []


def complaints(browser: Chrome) -> list[str]:
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


def wait(browser: Chrome, condition: Callable[[], object], seconds: float = SECONDS) -> None:
    WebDriverWait(browser, seconds, poll_frequency=0.1).until(lambda _: condition(), text(browser, "body"))


def text(browser: Chrome, selector: str) -> str:
    """What is read there, with common spaces."""
    read = "return document.querySelector(arguments[0])?.innerText ?? ''"
    return str(browser.execute_script(read, selector)).replace("\xa0", " ")


def number(browser: Chrome, name: str) -> str:
    """What stands below a name in the numbers at the top."""
    return dict(pairwise(text(browser, "#sizes").split("\n") + text(browser, "#facts").split("\n"))).get(name, "")


def scheme_rows(browser: Chrome) -> list[list[str]]:
    lines = text(browser, "#schemes tbody").split("\n")
    return [[cell.strip() for cell in line.split("\t")] for line in lines]


def shows(browser: Chrome, regions: int) -> None:
    """Wait until the target that has so many regions is shown."""
    wait(browser, lambda: number(browser, "Regions") == str(regions))


def line(browser: Chrome) -> str:
    """The path of the working set: one M for each piece."""
    return str(browser.execute_script("return document.getElementById('line').getAttribute('d')"))


def heats(browser: Chrome, from_right: Iterable[int]) -> list[list[Pixel]]:
    """Of one moment."""
    columns = browser.execute_script(COLUMNS, list(from_right))
    return [[tuple(pixel) for pixel in column] for column in columns]


def heat(browser: Chrome, from_right: int = 0) -> list[Pixel]:
    return heats(browser, [from_right])[0]


def colours(pixels: list[Pixel]) -> list[tuple[int, int, int]]:
    return [pixel[:3] for pixel in pixels if pixel[3] == 255]


def target_at(seconds: float, access_seconds: tuple[float, ...], **changes: object) -> TargetState:
    """Physical memory that has been observed for so long, with what the bins have added up to."""
    return replace(
        PHYSICAL,
        observed_seconds=seconds,
        last_snapshot_timestamp=BEGAN + seconds,
        heatmap=Heatmap(access_seconds, 2.0**30),
        **changes,
    )


def watching(*targets: TargetState, monitor: MonitorState = NODE) -> NodeState:
    return replace(STATE, monitors=(replace(monitor, targets=targets),))


@contextmanager
def opened(browser: Chrome, state: NodeState, fragment: str = "") -> Iterator[Published]:
    """Open the page of a server and yield what it publishes, to be replaced. The page is left before that ends."""
    published = Published(state)
    with Server(["127.0.0.1:0"], make_app(published)) as server:
        browser.get(f"http://127.0.0.1:{server.bound[0].port}/live{fragment}")
        yield published
        browser.get("about:blank")


# Heat


def test_what_was_accessed_between_two_looks_is_bright_however_many_aggregations_passed(browser: Chrome) -> None:
    before = target_at(100, (50.0, 50.0, 50.0, 0.0))
    with opened(browser, watching(before)) as published:
        shows(browser, 812)
        published.replace(watching(target_at(107, (50.0, 57.0, 51.75, 0.0))))  # 70 aggregations of 0.1 s
        wait(browser, lambda: colours(heat(browser)))
        seen = heat(browser)
    assert seen[0] == seen[3] == (*DARK, 255)
    assert seen[1] == (*BRIGHT, 255)
    assert DARK[0] < seen[2][0] < BRIGHT[0]


def test_the_picture_moves_on_and_keeps_what_was(browser: Chrome) -> None:
    with opened(browser, watching(target_at(100, (0.0, 0.0)))) as published:
        shows(browser, 812)
        published.replace(watching(target_at(101, (1.0, 0.0))))
        wait(browser, lambda: colours(heat(browser)) == [BRIGHT, DARK])
        published.replace(watching(target_at(104, (1.0, 3.0))))
        wait(browser, lambda: colours(heat(browser)) == [DARK, BRIGHT])
        older, oldest = (colours(heat(browser, x)) for x in (70, 599))
    assert older == [BRIGHT, DARK]  # 20 pixels are a second
    assert oldest == []


def test_nothing_is_drawn_between_counters_that_have_begun_anew_meanwhile(browser: Chrome) -> None:
    with opened(browser, watching(target_at(100, (50.0, 0.0)))) as published:
        shows(browser, 812)
        anew = target_at(105, (50.0, 4.5), regions=9, counting_since=BEGAN)  # as if bin 1 had been hot
        published.replace(watching(anew))
        shows(browser, 9)
        assert colours(heat(browser)) == []
        assert line(browser).count("M") == 2
        published.replace(watching(target_at(106, (51.0, 4.5), counting_since=BEGAN)))
        wait(browser, lambda: colours(heat(browser)) == [BRIGHT, DARK])


def test_time_that_nobody_observed_is_blank(browser: Chrome) -> None:
    with opened(browser, watching(target_at(100, (0.0, 0.0)))) as published:
        shows(browser, 812)
        published.replace(watching(target_at(101, (0.0, 1.0))))
        wait(browser, lambda: colours(heat(browser)) == [DARK, BRIGHT])
        down = target_at(103, (2.0, 1.0))  # of 50 seconds only the last two
        published.replace(watching(replace(down, last_snapshot_timestamp=BEGAN + 151)))
        wait(browser, lambda: colours(heat(browser)) == [BRIGHT, DARK])
        columns = [colours(heat(browser, x)) for x in (15, 25, 495, 505)]  # 10 pixels are a second
        canvas = browser.find_element(By.ID, "heat")
        ActionChains(browser).move_to_element(canvas).perform()
        wait(browser, lambda: text(browser, "#heat-at").endswith("30 s ago: not seen"))
    assert columns == [[BRIGHT, DARK], [], [], [DARK, BRIGHT]]


@pytest.mark.parametrize(
    ("monitor", "target", "why"),
    [
        (DATABASES, POSTGRES, "only if export.heatmap.processes is true"),
        (NODE, replace(PHYSICAL, bands=None, idle_age=None, heatmap=None), "Nothing tells this kdamond's intervals"),
        (NODE, replace(PHYSICAL, heatmap=None), "export.heatmap.bins is 0"),
    ],
    ids=["processes", "unknown intervals", "turned off"],
)
def test_a_target_without_heat_says_why(browser: Chrome, monitor: MonitorState, target: TargetState, why: str) -> None:
    with opened(browser, watching(target, monitor=monitor)):
        wait(browser, lambda: why in text(browser, "#heat-note"))
        assert not browser.find_element(By.ID, "heat").is_displayed()


def test_the_heat_at_a_place_can_be_read(browser: Chrome) -> None:
    with opened(browser, watching(target_at(100, (0.0, 0.0)))) as published:
        shows(browser, 812)
        published.replace(watching(target_at(130, (3.0, 0.0))))
        wait(browser, lambda: colours(heat(browser)))
        canvas = browser.find_element(By.ID, "heat")
        below_the_middle = (0, canvas.size["height"] // 4)
        ActionChains(browser).move_to_element_with_offset(canvas, *below_the_middle).perform()
        wait(browser, lambda: text(browser, "#heat-at") == "0 B to 1 GiB, 15 s ago: accessed 10 % of the time")


# Ages, sizes, schemes


def test_idle_ages_are_told_in_bytes_and_as_wide_as_they_are_large(browser: Chrome) -> None:
    with opened(browser, watching(POSTGRES, monitor=DATABASES)):
        wait(browser, lambda: "64 MiB" in text(browser, "#legend"))
        told = text(browser, "#legend").split("\n")
        widths = [piece.size["width"] for piece in browser.find_elements(By.CSS_SELECTOR, "#ages span")]
    assert told == ["up to 1 s", "64 MiB", "33 %", "1 s to 1 min", "0 B", "0 %", "1 min to 1 h", "128 MiB", "67 %",
                    "over 1 h", "0 B", "0 %"]  # fmt: skip
    assert widths[1] == pytest.approx(2 * widths[0], rel=0.02)


def test_the_working_set_has_its_values_and_its_time(browser: Chrome) -> None:
    first = target_at(100, (0.0,), working_set_bytes=30 * 2**20)
    with opened(browser, watching(first)) as published:
        wait(browser, lambda: "30 MiB" in number(browser, "Working set"))
        published.replace(watching(target_at(140, (0.0,), working_set_bytes=12 * 2**20)))
        wait(browser, lambda: "12 MiB to 30 MiB" in text(browser, "#range"))
        assert text(browser, "#range") == "now 12 MiB; in the last 1 min 12 MiB to 30 MiB"
        assert text(browser, "#size-top") == "32 MiB"
        assert text(browser, ".times").split("\n") == [
            f"{MINUS}{before}" for before in ("1 min", "45 s", "30 s", "15 s")
        ] + ["now"]
        drawn = line(browser)
    points = [tuple(map(float, point)) for point in re.findall(r"([\d.]+),([\d.]+)", drawn)]
    assert points == [(200, 6.25), (600, 62.5)]
    assert drawn.count("M") == 2  # nobody looked for 40 s


def having_applied(applied: int) -> NodeState:
    reclaim, cold = SCHEMES
    counters = {**(reclaim.counters or {}), "sz_applied": applied}
    return replace(STATE, monitors=(replace(NODE, schemes=(replace(reclaim, counters=counters), cold)),))


def bytes_per_second(told: str) -> float:
    number, unit = told.removesuffix("/s").split(" ")
    return float(number) * 1024 ** ("B", "KiB", "MiB", "GiB").index(unit)


def test_schemes_are_told_with_what_they_did_lately(browser: Chrome) -> None:
    began = time.monotonic()
    with opened(browser, having_applied(2**30)) as published:
        wait(browser, lambda: scheme_rows(browser)[0][4:5] == ["1 GiB"])
        published.replace(having_applied(2**31))
        wait(browser, lambda: scheme_rows(browser)[0][4] == "2 GiB")
        reclaim, cold = scheme_rows(browser)
        at_most = time.monotonic() - began
    assert reclaim[:5] == ["proactive-reclaim", "pageout", "held back by its watermarks", "12 GiB", "2 GiB"]
    assert 0.999 * 2**30 / at_most < bytes_per_second(reclaim[5]) < 1.01 * 2**30  # looks are a second apart at least
    assert reclaim[6] == "128 MiB"
    assert cold == ["cold <1>", "stat", "counts only", "unknown", "unknown", "unknown", "none"]


def test_what_schemes_did_is_not_compared_over_a_restart(browser: Chrome) -> None:
    with opened(browser, having_applied(2**30)) as published:
        wait(browser, lambda: scheme_rows(browser)[0][4:5] == ["1 GiB"])
        published.replace(replace(having_applied(2**31), started=BEGAN))
        wait(browser, lambda: scheme_rows(browser)[0][4] == "2 GiB")
        assert scheme_rows(browser)[0][5] in ("", "0 B/s")
        wait(browser, lambda: scheme_rows(browser)[0][5] == "0 B/s")


def test_sizes_and_what_schemes_do_are_told_as_on_the_landing_page(browser: Chrome) -> None:
    edges = [step * 1024**power for power in range(7) for step in (1, 1000.5, 1023, 1023.94, 1023.96)]
    ties = [100.25 * 1024, 100.75 * 2**20, 1000.5 * 2**30]  # rounded to the even digit
    numbers = [0, 0.5, *edges, *ties, 123_456_789, 12_345 * 2**40, 2**64]
    schemes = [SchemeState("s", "pageout", None, active=active) for active in (True, False, None)]
    schemes.append(SchemeState("s", "stat", None, active=True))
    with opened(browser, STATE):
        shows(browser, 812)
        sizes = browser.execute_script("return arguments[0].map(size)", numbers)
        told = [asdict(scheme) for scheme in schemes]
        activities = browser.execute_script("return arguments[0].map(activity)", told)
    assert [each.replace("\xa0", " ") for each in sizes] == [landing.size(number) for number in numbers]
    assert activities == [landing.activity(scheme) for scheme in schemes]


# Choosing


def test_a_monitor_and_a_target_can_be_chosen_whatever_they_are_called(browser: Chrome) -> None:
    hostile = replace(POSTGRES, name=HOSTILE_NAME, regions=41)
    usual = replace(POSTGRES, name="usual")
    script = replace(POSTGRES, name="<script>document.title = 'taken'</script>&target=x", regions=42)
    monitors = (
        NODE,
        replace(DATABASES, name="<img src=x onerror=alert(1)>", targets=(usual, hostile, script)),
        DOWN,
    )
    with opened(browser, replace(STATE, monitors=monitors)):
        shows(browser, 812)
        Select(browser.find_element(By.ID, "monitor")).select_by_visible_text("<img src=x onerror=alert(1)>")
        wait(browser, lambda: number(browser, "Operations") == "vaddr")
        for index, regions in ((2, 42), (1, 41)):
            Select(browser.find_element(By.ID, "target")).select_by_index(index)
            shows(browser, regions)
        assert text(browser, "#target").split("\n")[1] == printable(HOSTILE_NAME)
        browser.refresh()
        shows(browser, 41)
        assert browser.title == "DAMON, live"
        assert browser.find_elements(By.TAG_NAME, "img") == []


def test_a_monitor_that_is_down_says_why(browser: Chrome) -> None:
    with opened(browser, STATE, "#monitor=bench"):
        wait(browser, lambda: "no process is called <masim>" in text(browser, "#reasons"))
        assert not browser.find_element(By.ID, "of-target").is_displayed()


def test_a_target_that_vanishes_is_waited_for(browser: Chrome) -> None:
    both = replace(STATE, monitors=(replace(DATABASES, targets=(POSTGRES, replace(POSTGRES, name="b", regions=5))),))
    with opened(browser, both, "#monitor=databases&target=b") as published:
        shows(browser, 5)
        published.replace(replace(STATE, monitors=(DATABASES,)))
        wait(browser, lambda: "There is no target “b” now" in text(browser, "#reasons"))
        chosen = Select(browser.find_element(By.ID, "target")).first_selected_option.text
        assert (chosen, browser.find_element(By.ID, "of-target").is_displayed()) == ("b (gone)", False)
        published.replace(both)
        wait(browser, lambda: browser.find_element(By.ID, "of-target").is_displayed())


def test_no_monitor_is_chosen_by_an_empty_name(browser: Chrome) -> None:
    with opened(browser, STATE, "#monitor="):
        shows(browser, 812)


@pytest.mark.parametrize(
    ("fragment", "told"),
    [("#monitor=gone", "There is no monitor “gone” now."), ("#target=", "There is no target “” now.")],
)
def test_a_name_that_nobody_has_is_told_in_quotes(browser: Chrome, fragment: str, told: str) -> None:
    with opened(browser, STATE, fragment):
        wait(browser, lambda: told in text(browser, "#reasons"))


def test_a_host_where_nothing_is_watched_says_so(browser: Chrome) -> None:
    with opened(browser, NodeState(ready=True, reasons=("this kernel has no DAMON",))):
        wait(browser, lambda: text(browser, "#reasons") == "No kdamond is watched.\nthis kernel has no DAMON")


# The page


def test_the_demo_fills_the_page_and_says_that_it_is_a_recording(browser: Chrome) -> None:
    with Running(command=(*COMMAND, "demo")) as demo:
        browser.get(f"http://127.0.0.1:{demo.port}/live")
        wait(browser, lambda: len(set(colours(heat(browser)))) > 2)
        assert "This is a recording, not this host" in text(browser, "#recording")
        assert text(browser, "#problem") == ""
        browser.get("about:blank")


def one_quarter_hot(quarter: int) -> Regions:
    gib = 2**30
    return regions(*((i * gib, (i + 1) * gib, 20 if i == quarter else 0, 0) for i in range(4)))


def test_the_demo_draws_what_the_recording_says(browser: Chrome, tmp_path: Path) -> None:
    """Every three seconds the next of the lower three quarters is hot; the uppermost never is."""
    path, bins, each = tmp_path / "quarters.damon", 8, 30
    aggregation_us = INTERVALS.aggregation_us
    write_recording(
        path,
        [
            Snapshot(0, n * aggregation_us * 1000, one_quarter_hot(n // each), INTERVALS, aggregation_us)
            for n in range(3 * each)
        ],
        monitors={0: RecordedMonitor("node", "paddr")},
    )
    config = tmp_path / "config.yaml"
    config.write_text(f"export: {{publish: 100ms, heatmap: {{bins: {bins}}}}}")
    pictures = [[BRIGHT if bin_ // 2 == hot else DARK for bin_ in range(bins)] for hot in range(3)]

    def order() -> list[int]:
        """What was hot, from left to right; columns of two phases, which are means, are left out."""
        drawn = [colours(column) for column in heats(browser, range(595, 0, -10))]
        whole = [pictures.index(column) for column in drawn if column in pictures]
        return [hot for hot, _ in groupby(whole)]

    with Running(str(path), f"--config.file={config}", command=(*COMMAND, "demo")) as demo:
        browser.get(f"http://127.0.0.1:{demo.port}/live")
        wait(browser, lambda: text(browser, "#heat-top") == "4 GiB")
        wait(browser, lambda: any(order()[i : i + 3] == [0, 1, 2] for i in range(9)))
        browser.get("about:blank")


def test_the_page_says_that_the_exporter_is_gone_and_goes_on_when_it_is_back(chrome: Chrome) -> None:
    app = make_app(Published(STATE))
    with Server(["127.0.0.1:0"], app) as server:
        where = f"127.0.0.1:{server.bound[0].port}"
        chrome.get(f"http://{where}/live")
        wait(chrome, lambda: number(chrome, "Regions") == "812")
    wait(chrome, lambda: "No answer from the exporter" in text(chrome, "#problem"))
    with Server([where], app):
        wait(chrome, lambda: text(chrome, "#problem") == "")
        chrome.get("about:blank")
    assert all("ERR_CONNECTION" in complaint or "ERR_EMPTY" in complaint for complaint in complaints(chrome))


def test_a_page_that_nobody_sees_asks_nothing_and_makes_up_for_nothing(browser: Chrome) -> None:
    looks: list[float] = []

    def current() -> NodeState:
        looks.append(time.monotonic())
        return STATE

    with Server(["127.0.0.1:0"], make_app(current)) as server:
        browser.get(f"http://127.0.0.1:{server.bound[0].port}/live")
        shows(browser, 812)
        page = browser.current_window_handle
        browser.switch_to.new_window("tab")
        wait(browser, lambda: time.monotonic() - looks[-1] > 2.5)
        before = len(looks)
        browser.close()
        browser.switch_to.window(page)
        wait(browser, lambda: len(looks) > before + 2)
        browser.get("about:blank")
    assert min(after - earlier for earlier, after in pairwise(looks[before - 1 :])) > 0.5


def test_it_works_below_the_path_of_a_proxy(browser: Chrome) -> None:
    app = make_app(Published(STATE))

    def below(request: Request) -> Response:
        return app(replace(request, path=request.path.removeprefix("/damon")))

    with Server(["127.0.0.1:0"], below) as server:
        browser.get(f"http://127.0.0.1:{server.bound[0].port}/damon/")
        browser.find_element(By.LINK_TEXT, "/live").click()
        shows(browser, 812)
        browser.find_element(By.LINK_TEXT, "Overview").click()
        wait(browser, lambda: browser.title == "damon-exporter")


@pytest.mark.parametrize("hostile", [False, True], ids=["usual names", "long names"])
def test_a_phone_need_not_scroll_sideways(browser: Chrome, hostile: bool) -> None:
    long = "x" * 300
    names = {"name": long} if hostile else {}
    monitor = replace(NODE, targets=(replace(PHYSICAL, **names),), schemes=(replace(SCHEMES[0], **names),), **names)
    look_like(browser, 390, 800)
    with opened(browser, replace(STATE, monitors=(monitor,))):
        shows(browser, 812)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 390


def test_the_times_do_not_overlap_on_a_phone(browser: Chrome) -> None:
    visible = """return [...document.querySelector(".times").children].filter((tick) => tick.checkVisibility(
        {visibilityProperty: true})).map((tick) => {
          const range = document.createRange();
          range.selectNodeContents(tick);
          const box = range.getBoundingClientRect();
          return [box.left, box.right];
        })"""
    look_like(browser, 390, 800)
    with opened(browser, STATE):  # of ten minutes, whose times are the longest
        shows(browser, 812)
        edges = browser.execute_script(visible)
    assert len(edges) == 3
    assert all(right < left for (_, right), (left, _) in pairwise(edges))


def test_it_is_dark_for_those_who_want_it_dark(browser: Chrome) -> None:
    def shown() -> tuple[float, float]:
        style = "const style = getComputedStyle(document.body); return [style.backgroundColor, style.color]"
        back, front = (
            luminance(np.array(list(map(int, re.findall(r"\d+", rgb)[:3])))) for rgb in browser.execute_script(style)
        )
        return back, front

    with opened(browser, STATE):
        back, front = shown()
        look_like(browser, 1280, 800, "dark")
        dark_back, dark_front = shown()
    assert (back + 0.05) / (front + 0.05) > 7  # as WCAG counts contrast
    assert (dark_front + 0.05) / (dark_back + 0.05) > 7


# Colours

DEFICIENCIES = {  # Machado, Oliveira, Fernandes 2009, severity 1, on linear RGB
    "none": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(rgb: np.ndarray) -> np.ndarray:
    share = rgb / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def luminance(rgb: np.ndarray) -> float:
    return float(TO_XYZ[1] @ linear(rgb))


def lab(rgb: np.ndarray, deficiency: str) -> np.ndarray:
    seen = np.clip(linear(rgb) @ DEFICIENCIES[deficiency].T, 0, 1)
    x, y, z = np.cbrt(np.maximum(seen @ TO_XYZ.T / TO_XYZ.sum(1), 0.008856)).T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


@pytest.mark.parametrize("buckets", [2, 3, 12, 65])
def test_neighbours_among_the_idle_ages_are_told_apart_by_everybody(browser: Chrome, buckets: int) -> None:
    bounds = tuple(2.0**i for i in range(buckets - 1))
    ages = replace(PHYSICAL.idle_age, bounds=bounds, counts=(2.0**30,) * buckets)
    with opened(browser, watching(replace(PHYSICAL, idle_age=ages))):
        shows(browser, 812)
        pieces = browser.find_elements(By.CSS_SELECTOR, "#ages span")
        fills = np.array([re.findall(r"\d+", piece.value_of_css_property("background-color"))[:3] for piece in pieces])
    assert len(fills) == min(buckets, 7)
    for deficiency in DEFICIENCIES:
        seen = lab(fills.astype(int), deficiency)
        assert np.linalg.norm(np.diff(seen, axis=0), axis=1).min() > 9, deficiency
        assert (np.diff(seen[:, 0]) < 0).all(), deficiency  # darker and darker: also in grey
