"""Work done ahead by threads."""

import threading

import pytest

from meetmid.runtime.ahead import ahead


def jobs(count, do):
    return ((lambda k=k: do(k)) for k in range(count))


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("count", [0, 1, 2, 20])
def test_results_come_in_order(count, workers):
    assert list(ahead(jobs(count, lambda k: k * k), workers)) == [k * k for k in range(count)]


def test_no_more_than_twice_as_many_wait():
    begun, seen = set(), []
    for k in ahead(jobs(50, lambda k: begun.add(k) or k), 2):
        seen.append(len(begun) - k)
    assert max(seen) <= 2 * 2 + 1


def test_threads_work_while_the_caller_does():
    meet = threading.Barrier(2)

    def job(k):
        if k:
            meet.wait(timeout=60)
        return k

    for k in ahead(jobs(2, job), 1):
        if not k:
            meet.wait(timeout=60)  # the second job runs while the caller has the first


def test_a_single_job_and_no_workers_need_no_thread():
    own = threading.get_ident()
    assert list(ahead(jobs(1, lambda k: threading.get_ident()), 4)) == [own]
    assert set(ahead(jobs(5, lambda k: threading.get_ident()), 0)) == {own}
    assert own not in set(ahead(jobs(5, lambda k: threading.get_ident()), 2))


def test_errors_come_in_their_place_and_the_rest_is_left():
    done = []

    def job(k):
        if k == 3:
            raise ValueError("the fourth")
        done.append(k)
        return k

    found = ahead(jobs(100, job), 2)
    assert [next(found) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="the fourth"):
        next(found)
    assert len(done) < 20


def test_a_caller_that_stops_leaves_the_rest():
    done, before = [], threading.active_count()
    found = ahead(jobs(100, lambda k: done.append(k) or k), 2)
    next(found)
    found.close()
    assert len(done) < 20
    assert threading.active_count() == before
