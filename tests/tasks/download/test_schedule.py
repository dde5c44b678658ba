from __future__ import annotations

from tasks.download.address import AllowList, read_url
from tasks.download.results import ImageRow
from tasks.download.schedule import HostQueues, Work


def work(host: str, key: str = "k") -> Work:
    target = read_url(f"http://{host}/{key}", AllowList(()))
    return Work(ImageRow(key, str(target.url)), target, target)


def keys(queues: HostQueues, now: float = 0.0) -> list[str]:
    taken = []
    while (next_work := queues.take(now)) is not None:
        taken.append(next_work.row.key)
    return taken


def test_hosts_take_turns_and_each_has_its_own_places():
    queues = HostQueues(per_host=2, host_failures=3)
    for n in range(4):
        queues.add(work("a.example", f"a{n}"))
    for n in range(3):
        queues.add(work("b.example", f"b{n}"))
    assert keys(queues) == ["a0", "b0", "a1", "b1"]
    queues.give_back("b.example")
    assert keys(queues) == ["b2"]
    queues.give_back("a.example")
    queues.give_back("a.example")
    assert keys(queues) == ["a2", "a3"]


def test_put_off_works_wait_for_their_time():
    queues = HostQueues(per_host=9, host_failures=3)
    queues.add(work("a.example", "late"), not_before=20)
    queues.add(work("a.example", "soon"), not_before=10)
    assert keys(queues, 5) == []
    assert queues.next_time() == 10
    assert keys(queues, 10) == ["soon"]
    assert queues.next_time() == 20
    assert keys(queues, 25) == ["late"]
    assert queues.next_time() is None


def test_a_paused_host_rests_and_others_go_on():
    queues = HostQueues(per_host=9, host_failures=3)
    queues.add(work("a.example", "a0"))
    assert keys(queues) == ["a0"]
    queues.pause("a.example", 10)
    queues.give_back("a.example")
    queues.add(work("a.example", "a1"))
    queues.add(work("b.example", "b0"))
    assert keys(queues, 1) == ["b0"]
    assert queues.next_time() == 10
    queues.add(work("a.example", "a2"))
    assert keys(queues, 10) == ["a1", "a2"]


def test_a_dead_host_is_given_up_with_all_that_wait_for_it():
    queues = HostQueues(per_host=2, host_failures=2)
    for n in range(4):
        queues.add(work("a.example", f"a{n}"))
    queues.add(work("a.example", "later"), not_before=99)
    queues.add(work("b.example", "other"), not_before=99)
    assert keys(queues) == ["a0", "a1"]
    assert queues.failed("a.example", "connect_timeout") == []
    assert queues.given_up("a.example") is None
    ended = queues.failed("a.example", "connect_timeout")
    assert [w.row.key for w in ended] == ["a2", "a3", "later"]
    assert "2 failures" in (queues.given_up("a.example") or "")
    assert "connect_timeout" in (queues.given_up("a.example") or "")
    assert queues.failed("a.example", "connect_timeout") == []
    queues.give_back("a.example")
    queues.give_back("a.example")
    assert keys(queues, 100) == ["other"]


def test_an_answer_clears_a_hosts_failures():
    queues = HostQueues(per_host=1, host_failures=2)
    for n in range(3):
        queues.add(work("a.example", f"a{n}"))
    assert queues.take(0) is not None
    assert queues.failed("a.example", "x") == []
    queues.give_back("a.example")
    assert queues.take(0) is not None
    queues.answered("a.example")
    assert queues.failed("a.example", "x") == []
    queues.give_back("a.example")
    assert queues.given_up("a.example") is None
    assert queues.take(0) is not None


def test_hosts_without_work_are_forgotten():
    queues = HostQueues(per_host=1, host_failures=2)
    for n in range(100):
        queues.add(work(f"host-{n}.example"))
        assert queues.take(0) is not None
        queues.give_back(f"host-{n}.example")
    assert queues._hosts == {}
