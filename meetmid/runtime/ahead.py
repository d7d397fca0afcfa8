"""Work that threads do ahead of the one that needs it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from typing import TypeVar

T = TypeVar("T")


def ahead(jobs: Iterable[Callable[[], T]], workers: int) -> Generator[T, None, None]:
    """The results of ``jobs`` in their order, made by ``workers`` threads while the caller uses those before; at most twice as
    many wait. An error is raised where its result would come; what has not begun by then, or when the caller stops, is left.
    A single job, or ``workers`` < 1, is done by the caller."""
    rest = iter(jobs)
    first = list(islice(rest, 2))
    if len(first) < 2 or workers < 1:
        yield from (job() for job in chain(first, rest))
        return
    pool = ThreadPoolExecutor(workers, "meetmid-ahead")
    waiting: deque[Future[T]] = deque()
    try:
        for job in chain(first, rest):
            waiting.append(pool.submit(job))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
