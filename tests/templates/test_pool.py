"""Room for templates, in memory or mapped."""

import numpy as np
import pytest

from meetmid.errors import StoreError
from meetmid.templates.pool import TemplatePool, allocate


@pytest.mark.parametrize("limit", [0, 10**6])
def test_room_is_zeroed_writable_and_grouped(limit):
    pool = TemplatePool.empty([2, 0, 3], (2, 4, 5), limit)
    assert isinstance(pool.templates, np.memmap) == (limit == 0)
    assert pool.templates.shape == (5, 2, 4, 5)
    assert pool.weights.shape == (5, 2, 4)
    assert pool.first.tolist() == [0, 2, 2, 5]
    assert not pool.templates.any()
    assert not pool.weights.any()
    pool.templates[4, 1, 3] = np.arange(5)
    assert pool.templates[4, 1, 3].tolist() == [0, 1, 2, 3, 4]


def test_no_room_on_the_disk_says_what_to_do():
    with pytest.raises(StoreError, match="TMPDIR"):
        allocate((2**20, 2**20, 2**10), 0)


@pytest.mark.parametrize("limit", [0, 10**6])
def test_a_part_holds_the_entries_in_the_order_asked_for(limit):
    rng = np.random.default_rng(0)
    pool = TemplatePool.empty([2, 0, 1, 3], (2, 4, 5), 10**6)
    pool.templates[:], pool.weights[:] = rng.normal(size=pool.templates.shape), rng.normal(size=pool.weights.shape)
    part = pool.part([3, 1, 0], limit)
    assert part.first.tolist() == [0, 3, 3, 5]
    for name in ("templates", "weights"):
        whole, got = getattr(pool, name), getattr(part, name)
        assert np.array_equal(got, np.concatenate([whole[3:6], whole[0:2]]))
