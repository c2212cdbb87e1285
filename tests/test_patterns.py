import copy
import subprocess
import sys
import time
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from damon_exporter.patterns import CgroupGlob, CommandPattern, NameGlob

POD = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod8a7e.slice"


def test_a_command_pattern_must_match_the_whole_line() -> None:
    redis = CommandPattern("redis-server .*")

    assert redis.fullmatch("redis-server *:6379")
    assert not redis.fullmatch("sh -c redis-server *:6379")
    assert not redis.fullmatch("redis-server")


def test_each_side_of_an_alternative_must_match_the_whole_line() -> None:
    either = CommandPattern("nginx|nginx: master")

    assert either.fullmatch("nginx: master")
    assert not either.fullmatch("nginx: worker")


@pytest.mark.parametrize(
    "expression", [r"java .*-Xmx\d+g", "(?i)JAVA .*", r"java\b.*", "java .*|node .*", r"\pL+ -X.*"]
)
def test_command_patterns_are_those_of_re2(expression: str) -> None:
    assert CommandPattern(expression).fullmatch("java -Xmx4g")


@pytest.mark.parametrize("line", ["postgres\nsilly", "postgres\udcff", "postgres \udcc3", "postgres\0", "postgres é"])
def test_no_byte_in_its_command_line_hides_a_process(line: str) -> None:
    assert CommandPattern("postgres.+").fullmatch(line)
    assert CommandPattern("postgres[^a]+|postgres silly").fullmatch(line)


def test_a_byte_that_is_no_utf_8_is_one_character() -> None:
    assert CommandPattern("a.b").fullmatch("a\udcffb")
    assert not CommandPattern("a.b").fullmatch("a\udcff\udcffb")
    assert CommandPattern("a\ufffd+b").fullmatch("a\udcff\udcffb")


def test_the_command_line_of_this_very_process_can_be_matched() -> None:
    line = Path("/proc/self/cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ").decode(errors="surrogateescape")

    assert CommandPattern(r".*\bpy(thon|test).*").fullmatch(line)


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("redis(", "'redis(' is no regular expression: missing ); it is written in RE2 syntax, as in Prometheus"),
        (r"ab\q", r"invalid escape sequence '\\q' at position 3; it is written in RE2 syntax, as in Prometheus"),
        ("(?=a)b", "invalid perl operator '(?=' at position 1;"),
        (r"(a)\1", r"invalid escape sequence '\\1' at position 4;"),
        (r"\q\\q", r"invalid escape sequence '\\q';"),  # stands there twice, so nothing tells which it is
        ("é[z-a]", "invalid character class range 'z-a' at position 3;"),
        ("a{1001}", "invalid repetition size '{1001}' at position 2;"),
        ("(?:ab){0,1000}" * 3, "is too large a pattern; repeat less, or write several entries"),
        (r"\pL{1000}", "is too large a pattern; repeat less, or write several entries"),
    ],
)
def test_an_expression_that_cannot_be_used_is_refused_with_cause_and_cure(expression: str, problem: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is compared below
        CommandPattern(expression)

    assert problem in str(caught.value)


def test_a_refusal_writes_nothing_to_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="missing"):
        CommandPattern("a(")
    CommandPattern("(?:(?:a|b|ab|ba|aab)*c?){300}").fullmatch("ab" * 2048)  # more states than it has memory for

    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("expression", "text"),
    [("(a+)+b", "a" * 4096), ("(?:a?){1000}a{1000}", "a" * 999), ("(.*)(.*)(.*)(.*)(.*)x", "y" * 4096)],
)
def test_an_expression_that_makes_others_backtrack_for_ever_answers_at_once(expression: str, text: str) -> None:
    began = time.process_time()

    assert not CommandPattern(expression).fullmatch(text)
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    ("glob", "path", "deepest"),
    [
        # a path without wildcards is itself, and includes what is below
        ("/system.slice/nginx.service", "/system.slice/nginx.service", "/system.slice/nginx.service"),
        ("/system.slice/nginx.service", "/system.slice/nginx.service/worker", "/system.slice/nginx.service"),
        ("/system.slice/nginx.service", "/system.slice/nginx.service2", None),
        ("/system.slice/nginx.service", "/system.slice", None),
        ("/system.slice/nginx.service", "/a/system.slice/nginx.service", None),
        # * and ? stay within one level
        ("/system.slice/*", "/system.slice/a/b/c", "/system.slice/a"),
        ("/system.slice/*", "/system.slice", None),
        ("/*", "/", None),
        ("/*/*", "/a/b", "/a/b"),
        ("/*/*", "/a", None),
        ("/nginx@*.service", "/nginx@.service/x", "/nginx@.service"),
        ("/nginx@?.service", "/nginx@1.service", "/nginx@1.service"),
        ("/nginx@?.service", "/nginx@.service", None),
        ("/a?b", "/a/b", None),
        # ** is any number of levels in the middle, and at least one at the end
        ("/a/**/b", "/a/b", "/a/b"),
        ("/a/**/b", "/a/x/y/b/z", "/a/x/y/b"),
        ("/a/**/b", "/a/b/x/b/y", "/a/b/x/b"),
        ("/a/**/b", "/a/xb", None),
        ("/a/**", "/a", None),
        ("/a/**", "/a/b", "/a/b"),
        ("/a/**", "/a/b/c", "/a/b/c"),
        ("/**", "/a/b/c", "/a/b/c"),
        ("/**", "/", None),
        ("/**/**", "/a", "/a"),
        ("/**/pod*", f"{POD}/cri-containerd-1.scope", None),
        ("/**/*-pod*.slice", f"{POD}/cri-containerd-1.scope", POD),
        # sets
        ("/user-[0-9].slice", "/user-7.slice/session", "/user-7.slice"),
        ("/user-[0-9].slice", "/user-a.slice", None),
        ("/[abc]", "/b", "/b"),
        ("/[!a-c]", "/d", "/d"),
        ("/[!a-c]", "/b", None),
        ("/a[!b]c", "/a/c", None),
        ("/a[+-1]c", "/a/c", None),
        ("/a[+-1]c", "/a.c", "/a.c"),
        ("/a[+-1]c", "/a0c", "/a0c"),
        ("/[]-]", "/]", "/]"),
        ("/[]-]", "/-", "/-"),
        ("/[[]x]", "/[x]", "/[x]"),
        ("/[^a]", "/^", "/^"),
        ("/[!^a]", "/^", None),
        # nothing else means anything
        (r"/dev-disk\x2dby.swap", r"/dev-disk\x2dby.swap", r"/dev-disk\x2dby.swap"),
        (r"/a\*", r"/a\b", r"/a\b"),
        (r"/a\*", "/a*", None),
        (r"/[\]", "/\\", "/\\"),
        ("/a.b", "/axb", None),
        ("/(a|b)+$", "/a", None),
        ("/(a|b)+$", "/(a|b)+$", "/(a|b)+$"),
        # names with any bytes
        ("/größe", "/größe/x", "/größe"),
        ("/po?st", "/po\udcffst/\udcff", "/po\udcffst"),
        ("/*", "/a\nb/c", "/a\nb"),
        ("/..", "/../kubepods", "/.."),
    ],
)
def test_the_deepest_of_a_path_and_those_above_it_that_matches_is_found(
    glob: str, path: str, deepest: str | None
) -> None:
    assert CgroupGlob(glob).deepest(path) == deepest


LEVELS = st.lists(st.text("ab", min_size=1, max_size=2), min_size=1, max_size=6)
GLOB_LEVELS = st.lists(st.sampled_from(["a", "b", "ab", "*", "?", "a*", "*b", "?b", "**"]), min_size=1, max_size=4)


def fits(glob: list[str], path: list[str]) -> bool:
    """The definition, level by level, as slow as it is plain."""
    match glob:
        case []:
            return not path
        case ["**"]:
            return bool(path)
        case ["**", *rest]:
            return any(fits(rest, path[i:]) for i in range(len(path) + 1))
        case [first, *rest]:
            return bool(path) and fnmatchcase(path[0], first) and fits(rest, path[1:])


@given(GLOB_LEVELS, LEVELS)
def test_globs_do_what_their_definition_says(glob: list[str], path: list[str]) -> None:
    compiled = CgroupGlob("/" + "/".join(glob))
    matching = [path[:depth] for depth in range(len(path), 0, -1) if fits(glob, path[:depth])]

    text = "/" + "/".join(path)
    assert (compiled.deepest(text) == text) == fits(glob, path)
    assert compiled.deepest("/" + "/".join(path)) == ("/" + "/".join(matching[0]) if matching else None)


@given(st.text(st.characters(exclude_characters="/", exclude_categories=()), min_size=1))
def test_any_name_matches_its_stars(name: str) -> None:
    assert CgroupGlob("/*").deepest(f"/{name}") == f"/{name}"
    assert CgroupGlob("/" + "?" * len(name)).deepest(f"/{name}/below") == f"/{name}"


@pytest.mark.parametrize(
    ("glob", "problem"),
    [
        ("", "does not begin with /; write the path from the root of the cgroup hierarchy"),
        ("system.slice", "does not begin with /"),
        ("**/nginx.service", "does not begin with /"),
        ("/", "has a / at its end or two together; leave it out, and write /** for all"),
        ("/a/", "has a / at its end or two together"),
        ("/a//b", "has a / at its end or two together"),
        ("/a/b**", "has ** beside other characters; let it stand alone between slashes, or write *"),
        ("/***", "has ** beside other characters"),
        ("/a[bc", "has a [ without its ]; write [[] for the character itself"),
        ("/a[b/c]", "has a [ without its ]"),
        ("/[]", "has a [ without its ]"),
        ("/[!]", "has a [ without its ]"),
        ("/[z-a]", "has a range that ends before it begins: z-a; exchange the two"),
        ("/" + "?" * 4095, "is too large a pattern"),
    ],
)
def test_a_glob_that_cannot_be_used_is_refused_with_cause_and_cure(glob: str, problem: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is compared below
        CgroupGlob(glob)

    assert problem in str(caught.value)


@pytest.mark.parametrize("path", ["/a" * 2048, "/" + "a" * 4095, "/" * 4096, "/a/" + "b/" * 2046 + "c"])
def test_the_deepest_path_that_the_kernel_allows_is_matched_at_once(path: str) -> None:
    globs = [CgroupGlob("/a/**/b/**/b/**/b/**/c"), CgroupGlob("/" + "*a" * 100 + "*b"), CgroupGlob("/**")]
    began = time.process_time()

    for glob in globs:
        glob.deepest(path)
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    ("glob", "name", "matches"),
    [
        ("cart-*", "cart-7d9c-xk2p", True),
        ("cart-*", "big-cart-7d9c", False),
        ("cart-?", "cart-1", True),
        ("cart-?", "cart-10", False),
        ("cart", "cart", True),
        ("cart", "carts", False),
        ("a.b", "a-b", False),
        ("*", "cart", True),
        ("*", "", False),  # what nothing names
    ],
)
def test_the_name_of_a_pod_is_matched_as_a_whole(glob: str, name: str, matches: bool) -> None:
    assert NameGlob(glob).matches(name) is matches


@pytest.mark.parametrize(
    ("one", "twin", "other"),
    [
        (CommandPattern("a.*"), CommandPattern("a.*"), CommandPattern("a.+")),
        (CgroupGlob("/a"), CgroupGlob("/a"), CgroupGlob("/b")),
        (NameGlob("a"), NameGlob("a"), NameGlob("b")),
        (NameGlob("/a"), NameGlob("/a"), CgroupGlob("/a")),
    ],
)
def test_patterns_are_the_same_if_their_texts_are(one: object, twin: object, other: object) -> None:
    assert one == twin != other
    assert len({one, twin, other}) == 2
    assert copy.deepcopy(one) == one
    assert repr(one) == f"{type(one).__name__}(text={one.text!r})"  # type: ignore[attr-defined]  # all have one


def test_the_library_of_expressions_is_loaded_by_the_first_pattern_only() -> None:
    program = """
import sys
from damon_exporter import config, patterns
config.load(None)
before = "re2" in sys.modules
patterns.NameGlob("a")
print(before, "re2" in sys.modules)
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert ran.stdout == "False True\n"
