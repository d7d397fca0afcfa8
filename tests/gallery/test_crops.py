"""Crops that are kept: what comes back, and what becomes of their file."""

from __future__ import annotations

import gc
import pickle
import warnings

import numpy as np
import pytest

from meetmid.gallery import crops as module
from meetmid.gallery.crops import CropStore


@pytest.mark.parametrize("in_memory", [module.IN_MEMORY, 64])
def test_its_file_is_closed_with_it(in_memory: int, face, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IN_MEMORY", in_memory)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store = CropStore()
        store.append(face(1, 30))
        store.append(None)
        again = pickle.loads(pickle.dumps(store))
        assert np.array_equal(store.crop(0), face(1, 30))
        assert np.array_equal(again.crop(0), face(1, 30))
        assert store.crop(1) is None
        files = [store._file, again._file]
        del store, again
        gc.collect()
    assert [file.closed for file in files] == [True, True]
