"""Passwords and the rate limit."""

import base64
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

import bcrypt
import pytest
from example_state import STATE
from test_app import PAGES, Answer, ask

from damon_exporter.web.app import UNGUARDED, make_app
from damon_exporter.web.guard import guarded
from damon_exporter.web.passwords import MAX_CHECKS, Passwords, Verdict
from damon_exporter.web.rate_limit import RateLimit
from damon_exporter.web.security import Security

HASHES = {user: bcrypt.hashpw(f"{user}'s".encode(), bcrypt.gensalt(8)) for user in ("alice", "bob")}


def basic(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def asked(security: Security, path: str = "/metrics") -> Answer:
    return ask(guarded(make_app(lambda: STATE), lambda: security, UNGUARDED), path)


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The hashes that passwords were compared with, at their cost."""
    found: list[bytes] = []
    real: Callable[[bytes, bytes], bool] = bcrypt.checkpw
    monkeypatch.setattr(bcrypt, "checkpw", lambda password, known: found.append(known) or real(password, known))
    return found


@pytest.mark.parametrize("path", [*(path for path in PAGES if path not in UNGUARDED), "/-/reload", "/nothing"])
def test_without_a_password_nothing_is_told_and_it_is_asked_for(path: str) -> None:
    answer = asked(Security(passwords=Passwords(HASHES)), path)

    assert (answer.status, answer.headers["WWW-Authenticate"].split()[0]) == (401, "Basic")
    assert "damon" not in answer.text


@pytest.mark.parametrize("path", sorted(UNGUARDED))
def test_probes_need_no_password(path: str) -> None:
    assert asked(Security(passwords=Passwords(HASHES)), path).status == 200


@pytest.mark.parametrize(
    ("authorization", "verdict"),
    [
        (basic("alice", "alice's"), Verdict.RIGHT),
        (basic("bob", "bob's").replace("Basic", "BASIC"), Verdict.RIGHT),
        (basic("alice", "bob's"), Verdict.WRONG),
        (basic("alice", ""), Verdict.WRONG),
        (basic("alice", "\0"), Verdict.WRONG),
        (basic("alice", "x" * 100), Verdict.WRONG),
        (basic("carl", "alice's"), Verdict.WRONG),
        (basic("", ""), Verdict.WRONG),
        ("Basic bm8gY29sb24=", Verdict.WRONG),
        ("Basic nonsense!", Verdict.WRONG),
        ("Basic /////w==", Verdict.WRONG),
        ("Bearer alice", Verdict.WRONG),
        ("", Verdict.WRONG),
    ],
)
def test_only_the_right_password_of_a_user_is_right(authorization: str, verdict: Verdict) -> None:
    assert Passwords(HASHES).check(authorization) is verdict


def test_a_password_is_right_up_to_what_bcrypt_looks_at() -> None:
    passwords = Passwords({"alice": bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(4))})

    assert passwords.check(basic("alice", "x" * 100)) is Verdict.RIGHT


def test_the_right_password_is_computed_once(checked: list[bytes]) -> None:
    passwords = Passwords(HASHES)
    for _ in range(3):
        assert passwords.check(basic("alice", "alice's")) is Verdict.RIGHT

    assert checked == [HASHES["alice"]]


def test_another_password_is_not_right_because_the_right_one_was() -> None:
    passwords = Passwords(HASHES)
    passwords.check(basic("alice", "alice's"))

    assert passwords.check(basic("alice", "alice's ")) is Verdict.WRONG
    assert passwords.check(basic("bob", "alice's")) is Verdict.WRONG


def test_somebody_unknown_costs_a_hash_too(checked: list[bytes]) -> None:
    Passwords(HASHES).check(basic("carl", "secret"))

    assert len(checked) == 1


def test_wrong_passwords_do_not_keep_those_waiting_whose_password_was_right() -> None:
    passwords = Passwords({"alice": bcrypt.hashpw(b"alice's", bcrypt.gensalt(12))})
    passwords.check(basic("alice", "alice's"))
    attempts = 12
    together = threading.Barrier(attempts + 1)

    def guess(number: int) -> Verdict:
        together.wait()
        return passwords.check(basic("alice", str(number)))

    with ThreadPoolExecutor(attempts) as guessing:
        guesses = [guessing.submit(guess, number) for number in range(attempts)]
        together.wait()
        began = perf_counter()
        assert passwords.check(basic("alice", "alice's")) is Verdict.RIGHT
        waited = perf_counter() - began
        verdicts = [guess.result() for guess in guesses]

    assert waited < 0.1
    assert MAX_CHECKS <= verdicts.count(Verdict.WRONG) < attempts
    assert set(verdicts) == {Verdict.WRONG, Verdict.BUSY}


def test_a_bucket_fills_again_with_time() -> None:
    now = [0.0]
    limit = RateLimit(interval=2.0, burst=3, clock=lambda: now[0])

    assert [limit.allows() for _ in range(4)] == [True, True, True, False]
    now[0] = 2.0
    assert [limit.allows() for _ in range(2)] == [True, False]
    now[0] = 100.0
    assert [limit.allows() for _ in range(4)] == [True, True, True, False]


def test_more_requests_than_allowed_are_told_so_and_probes_are_not_counted() -> None:
    security = Security(rate_limit=RateLimit(interval=60, burst=1))

    assert [asked(security, path).status for path in ("/-/healthy", "/", "/", "/-/healthy")] == [200, 200, 429, 200]
