"""Passwords and the rate limit."""

import asyncio
import base64
from collections.abc import Callable, Sequence
from time import perf_counter

import bcrypt
import pytest
import requests
from example_state import STATE
from test_app import PAGES

from damon_exporter.web.app import PROBES, make_app
from damon_exporter.web.passwords import Passwords, Verdict
from damon_exporter.web.rate_limit import RateLimit
from damon_exporter.web.security import Security
from damon_exporter.web.server import Server
from damon_exporter.web.turns import MOST_OF_ONE, Turns

HASHES = {user: bcrypt.hashpw(f"{user}'s".encode(), bcrypt.gensalt(8)) for user in ("alice", "bob")}


def basic(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def asked(security: Security, *paths: str) -> list[requests.Response]:
    with Server(["127.0.0.1:0"], make_app(lambda: STATE), security=lambda: security, probes=PROBES) as server:
        return [requests.get(f"http://{server.bound[0]}{path}", timeout=5) for path in paths]


def check(passwords: Passwords, user: str, password: str) -> Verdict:
    return asyncio.run(passwords.check(basic(user, password), "127.0.0.1"))


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The hashes that passwords were compared with, at their cost."""
    found: list[bytes] = []
    real: Callable[[bytes, bytes], bool] = bcrypt.checkpw
    monkeypatch.setattr(bcrypt, "checkpw", lambda password, known: found.append(known) or real(password, known))
    return found


@pytest.mark.parametrize("path", [*(path for path in PAGES if path not in PROBES), "/-/reload", "/nothing"])
def test_without_a_password_nothing_is_told_and_it_is_asked_for(path: str) -> None:
    (answer,) = asked(Security(passwords=Passwords(HASHES)), path)

    assert (answer.status_code, answer.headers["WWW-Authenticate"].split()[0]) == (401, "Basic")
    assert "damon" not in answer.text


def test_probes_need_no_password() -> None:
    assert [answer.status_code for answer in asked(Security(passwords=Passwords(HASHES)), *PROBES)] == [200, 200]


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
    assert asyncio.run(Passwords(HASHES).check(authorization, "127.0.0.1")) is verdict


def test_a_password_is_right_up_to_what_bcrypt_looks_at() -> None:
    passwords = Passwords({"alice": bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(4))})

    assert check(passwords, "alice", "x" * 100) is Verdict.RIGHT


def test_the_right_password_is_computed_once(checked: list[bytes]) -> None:
    passwords = Passwords(HASHES)
    for _ in range(3):
        assert check(passwords, "alice", "alice's") is Verdict.RIGHT

    assert checked == [HASHES["alice"]]


def test_another_password_is_not_right_because_the_right_one_was() -> None:
    passwords = Passwords(HASHES)
    check(passwords, "alice", "alice's")

    assert check(passwords, "alice", "alice's ") is Verdict.WRONG
    assert check(passwords, "bob", "alice's") is Verdict.WRONG


def test_somebody_unknown_costs_as_much_as_the_dearest(checked: list[bytes]) -> None:
    dear = bcrypt.hashpw(b"dora's", bcrypt.gensalt(9))
    check(Passwords({**HASHES, "dora": dear, "ed": HASHES["bob"]}), "carl", "secret")

    assert checked == [dear]


async def guess_beside(passwords: Passwords, guesses: int, address: str) -> tuple[Verdict, float, Sequence[Verdict]]:
    """What the right password gets from ``address``, after how long, and what wrong ones of another address get."""
    guessing = [asyncio.create_task(passwords.check(basic("alice", str(n)), "192.0.2.1")) for n in range(guesses)]
    await asyncio.sleep(0)
    began = perf_counter()
    verdict = await passwords.check(basic("alice", "alice's"), address)
    return verdict, perf_counter() - began, await asyncio.gather(*guessing)


def test_wrong_passwords_do_not_keep_those_waiting_whose_password_was_right() -> None:
    passwords = Passwords({"alice": bcrypt.hashpw(b"alice's", bcrypt.gensalt(10))})
    check(passwords, "alice", "alice's")

    verdict, waited, _ = asyncio.run(guess_beside(passwords, 8, "192.0.2.1"))

    assert verdict is Verdict.RIGHT
    assert waited < 0.3  # eight hashes take twice that


def test_whoever_guesses_does_not_keep_others_waiting_for_more_than_two_guesses(checked: list[bytes]) -> None:
    passwords = Passwords({"alice": bcrypt.hashpw(b"alice's", bcrypt.gensalt(8))})
    checks_until_right: list[int] = []

    async def guess_and_know() -> list[Verdict]:
        guesses = [passwords.check(basic("alice", str(n)), "192.0.2.1") for n in range(MOST_OF_ONE + 8)]
        guessing = asyncio.gather(*guesses)
        await asyncio.sleep(0)
        assert await passwords.check(basic("alice", "alice's"), "192.0.2.2") is Verdict.RIGHT
        checks_until_right.append(len(checked))
        return await guessing

    verdicts = asyncio.run(guess_and_know())

    assert checks_until_right[0] <= 3
    assert (verdicts.count(Verdict.WRONG), verdicts.count(Verdict.BUSY)) == (MOST_OF_ONE, 8)


def test_a_few_who_guess_do_not_lock_out_who_shares_their_address() -> None:
    passwords = Passwords({"alice": bcrypt.hashpw(b"alice's", bcrypt.gensalt(6))})

    verdict, _, verdicts = asyncio.run(guess_beside(passwords, 16, "192.0.2.1"))

    assert verdict is Verdict.RIGHT
    assert set(verdicts) == {Verdict.WRONG}


def test_whoever_waits_for_a_turn_too_long_gives_up_and_leaves_it_to_the_next() -> None:
    async def wait() -> None:
        turns = Turns(wait_seconds=0.05)
        async with turns.turn("192.0.2.1"):
            await asyncio.sleep(0.1)  # who has it may take longer
            for address in ("192.0.2.1", "192.0.2.2"):
                with pytest.raises(TimeoutError):
                    async with turns.turn(address):
                        pass
        for address in ("192.0.2.1", "192.0.2.2"):
            async with turns.turn(address):
                pass

    asyncio.run(wait())


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

    answers = asked(security, "/-/healthy", "/", "/", "/-/healthy")

    assert [answer.status_code for answer in answers] == [200, 200, 429, 200]
