"""Who has which photo in hand, and what becomes of it when a process dies."""

from __future__ import annotations

from restorer.cluster.ledger import LIMIT, Ledger


def test_a_block_that_is_handed_out_again_goes_on_where_it_stopped() -> None:
    ledger = Ledger()
    assert ledger.start(0, "a", "n1").done == {}
    assert ledger.begin(0, "a", 10, None)
    assert ledger.begin(0, "a", 11, (10, b"ten"))
    again = ledger.start(0, "b", "n1")
    assert again.done == {10: b"ten"}
    assert again.deaths == {11: 1.0}
    assert ledger.news().outcomes == [(10, b"ten")]


def test_a_photo_that_kills_two_processes_is_known_and_no_other() -> None:
    ledger = Ledger()
    for worker in ("a", "b", "c"):
        begun = ledger.start(0, worker, "n1")
        assert (begun.deaths.get(7, 0.0) >= LIMIT) == (worker == "c")
        if worker == "c":
            assert set(begun.deaths) == {7}
            break
        assert ledger.begin(0, worker, 6, None)
        assert ledger.begin(0, worker, 7, (6, b"six"))


def test_a_machine_that_dies_is_seldom_the_fault_of_a_photo() -> None:
    ledger = Ledger(lambda node: node != "gone")
    deaths = []
    for worker in "abcde":
        deaths.append(ledger.start(0, worker, "gone").deaths.get(1, 0.0))
        ledger.begin(0, worker, 1, None)
    assert deaths == [0.0, 0.5, 1.0, 1.5, 2.0]


def test_a_death_between_two_photos_is_nobodys() -> None:
    ledger = Ledger()
    ledger.start(0, "a", "n")
    assert ledger.start(0, "b", "n").deaths == {}
    ledger.begin(0, "b", 1, None)
    ledger.end(0, "b", (1, b"one"))
    assert ledger.start(0, "c", "n").deaths == {}


def test_who_was_taken_for_dead_and_is_not_takes_no_other_photo() -> None:
    ledger = Ledger()
    ledger.start(0, "a", "n")
    ledger.begin(0, "a", 1, None)
    ledger.start(0, "b", "n")
    assert not ledger.begin(0, "a", 2, (1, b"one"))
    ledger.end(0, "a", None)
    assert ledger.begin(0, "b", 1, None)
    assert ledger.news().outcomes == []


def test_stop_and_failure_reach_workers_before_their_next_photo() -> None:
    ledger = Ledger()
    ledger.start(0, "a", "n")
    assert ledger.begin(0, "a", 1, None)
    ledger.stop()
    assert ledger.news().in_hand == 1
    assert not ledger.begin(0, "a", 2, (1, b"one"))
    news = ledger.news()
    assert (news.outcomes, news.in_hand, news.nodes) == ([(1, b"one")], 0, frozenset({"n"}))
    other = Ledger()
    other.start(0, "a", "n")
    other.fail(b"why")
    other.fail(b"later")
    assert not other.begin(0, "a", 1, None)
    assert other.news().failure == b"why"
