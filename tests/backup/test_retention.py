"""B12: which backups are kept, by hand and over random histories."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from api.backup.retention import Candidate, Retention, kept

START = datetime(2026, 1, 1, 2, 0, tzinfo=UTC)


def nightly(days: int, *, sound: bool | None = True) -> list[Candidate]:
    return [Candidate(START + timedelta(days=n), f"day {n}", sound) for n in range(days)]


def test_days_weeks_and_months_by_hand() -> None:
    # 1 January 2026 is a Thursday, so day n is a Thursday for n = 0, 7, 14, ... and a Sunday for n = 3, 10, 17, ...
    # Sixty nights: the last is day 59, Sunday 1 March. Three days: 59, 58, 57. Three weeks, each by its Sunday: 59, 52,
    # 45. Three months, each by its last day: 59 (March), 58 (28 February), 30 (31 January).
    keep = kept(nightly(60), Retention(daily=3, weekly=3, monthly=3))
    assert keep == {f"day {n}" for n in (59, 58, 57, 52, 45, 30)}


def test_a_pause_deletes_nothing() -> None:
    # The number is of days with backups, so that backups of long ago are not gone because none were made since.
    old = nightly(5)
    assert kept(old, Retention(daily=5, weekly=0, monthly=0)) == {one.key for one in old}


def test_of_two_backups_of_a_day_the_newer_is_kept() -> None:
    two = [Candidate(START, "morning", True), Candidate(START + timedelta(hours=9), "noon", True)]
    assert kept(two, Retention(daily=7, weekly=5, monthly=12)) == {"noon"}


def test_a_damaged_backup_does_not_stand_for_its_day() -> None:
    two = [Candidate(START, "sound", True), Candidate(START + timedelta(hours=9), "damaged", False)]
    assert kept(two, Retention(daily=1, weekly=0, monthly=0)) == {"sound", "damaged"}  # the newest is kept in any case
    three = [*two, Candidate(START + timedelta(hours=10), "newest", True)]
    assert kept(three, Retention(daily=1, weekly=0, monthly=0)) == {"newest"}


def test_where_all_are_damaged_they_are_kept_by_their_days() -> None:
    assert kept(nightly(9, sound=False), Retention(daily=2, weekly=0, monthly=0)) == {"day 8", "day 7"}


def test_keeping_nothing_keeps_the_newest_sound_one() -> None:
    history = [*nightly(5), *(Candidate(START + timedelta(days=5 + n), f"late {n}", None) for n in range(3))]
    assert kept(history, Retention(daily=0, weekly=0, monthly=0)) == {"day 4", "late 2"}
    assert kept([], Retention()) == set()


@pytest.mark.parametrize("times", [1_000, pytest.param(10_000, marks=pytest.mark.chaos)])
def test_over_random_histories_the_last_verified_backup_is_never_deleted(times: int) -> None:
    draw = random.Random(12)
    for _ in range(times):
        retention = Retention(daily=draw.randrange(4), weekly=draw.randrange(4), monthly=draw.randrange(4))
        history: list[Candidate] = []
        when = START
        for n in range(draw.randrange(1, 9)):
            when += timedelta(hours=draw.choice([0, 1, 7, 24, 24, 24, 200, 2000]))
            history.append(Candidate(when, f"{n}", draw.choice([True, True, False, None])))
            verified = [one for one in history if one.sound]
            keep = kept(draw.sample(history, len(history)), retention)
            assert keep <= {one.key for one in history}
            assert history[-1].created == next(one for one in history if one.key == max(keep, key=int)).created
            if verified:
                assert any(one.key in keep for one in verified if one.created == verified[-1].created)
            history = [one for one in history if one.key in keep]
        # What is kept once is kept until something newer takes its place: pruning again changes nothing.
        assert kept(history, retention) == {one.key for one in history}
