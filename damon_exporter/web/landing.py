"""The landing page: what is watched, what is not and why, and where the numbers are."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template

from damon_exporter import __version__
from damon_exporter.state import MonitorState, NodeState, SchemeState, TargetState

_PAGE = Template(files(__package__).joinpath("landing.html").read_text("utf-8"))


def landing_page(state: NodeState, paths: Sequence[str]) -> str:
    """The page as HTML, with links to ``paths`` below its own. Everything that the state says is escaped."""
    return _PAGE.substitute(
        version=escape(__version__),
        kernel=escape(state.kernel_release or "of unknown release"),
        recording=_recording(state.recording),
        ready=_badge(state.ready, "ready", "not ready"),
        reasons=_list(map(escape, state.reasons)),
        monitors="".join(map(_monitor, state.monitors)) or "<p>No kdamond is watched.</p>",
        features=_flags(state.features, "No feature has been probed."),
        sources=_flags(state.sources_up, "No source has been tried."),
        links="".join(f'<a href=".{escape(path)}">{escape(path)}</a>' for path in paths),
    )


def _recording(name: str | None) -> str:
    if name is None:
        return ""
    return (
        '<div class="recording" role="alert"><strong>This is a recording, not this host.</strong> '
        f"Every number comes from <code>{escape(name)}</code>.</div>"
    )


def _monitor(monitor: MonitorState) -> str:
    intervals = monitor.intervals
    facts = {
        "Owner": monitor.owner,
        "Source": monitor.source,
        "Operations": monitor.operations,
        "Sample interval": _milliseconds(intervals.sample_us if intervals else None),
        "Aggregation interval": _milliseconds(intervals.aggregation_us if intervals else None),
        "Last snapshot": _age(monitor.last_snapshot_age_seconds),
    }
    pairs = "".join(f"<div><dt>{name}</dt><dd>{escape(fact)}</dd></div>" for name, fact in facts.items())
    reason = f"<p>{escape(monitor.reason)}</p>" if monitor.reason else ""
    return (
        f"<article><h3>{escape(monitor.name)} {_badge(monitor.up, 'up', 'down')}</h3>{reason}"
        f"<dl>{pairs}</dl>{_targets(monitor.targets)}{_schemes(monitor.schemes)}</article>"
    )


def _schemes(schemes: Iterable[SchemeState]) -> str:
    rows = "".join(
        f"<tr><th scope=row>{escape(scheme.name)}</th><td>{escape(scheme.action)}</td><td>{activity(scheme)}</td>"
        f"<td>{_count(scheme, 'sz_tried')}</td><td>{_count(scheme, 'sz_applied')}</td></tr>"
        for scheme in schemes
    )
    return _table(("Scheme", "Action", "Now", "Tried", "Applied"), rows)


def activity(scheme: SchemeState) -> str:
    """Whether it does anything to memory now; what only counts never does. The live page has the same."""
    if scheme.action == "stat":
        return "counts only"
    return {True: "acts", False: "held back by its watermarks", None: "acts, or is held back by its watermarks"}[
        scheme.active
    ]


def _count(scheme: SchemeState, counter: str) -> str:
    count = (scheme.counters or {}).get(counter)
    return "unknown" if count is None else size(count)


def _milliseconds(microseconds: int | None) -> str:
    return "unknown" if microseconds is None else f"{microseconds / 1000:g} ms"


def _age(seconds: float | None) -> str:
    return "none yet" if seconds is None else f"{seconds:.1f} s ago"


def _targets(targets: Iterable[TargetState]) -> str:
    rows = "".join(
        f"<tr><th scope=row>{escape(target.name)}</th><td>{size(target.working_set_bytes)}</td>"
        f"<td>{size(target.monitored_bytes)}</td></tr>"
        for target in targets
    )
    return _table(("Target", "Working set", "Monitored"), rows)


def _table(columns: Iterable[str], rows: str) -> str:
    """Nothing if there are no rows."""
    head = "".join(f"<th scope=col>{column}" for column in columns)
    return f'<div class="scroll"><table><tr>{head}</tr>{rows}</table></div>' if rows else ""


def size(number: float) -> str:
    """Bytes for people; the live page has the same."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB", "PiB"):
        if number < 1024:
            return f"{number:.4g} {unit}"
        number /= 1024
    return f"{number:.4g} EiB"


def _flags(flags: Mapping[str, bool], nothing: str) -> str:
    if not flags:
        return f"<p>{nothing}</p>"
    return _list(f"{_badge(there, 'yes', 'no', no_class='')} {escape(name)}" for name, there in flags.items())


def _list(items: Iterable[str]) -> str:
    entries = "".join(f"<li>{item}</li>" for item in items)
    return f"<ul>{entries}</ul>" if entries else ""


def _badge(good: bool, yes: str, no: str, no_class: str = "bad") -> str:
    return f'<span class="badge {"good" if good else no_class}">{yes if good else no}</span>'
