"""Kills writers of a gallery at random instants: run by test_writer.py in a process that has no threads.

    python killed_writer.py FOLDER KILLS

Every child changes the gallery at random and says before and after each change what it holds, until it is killed. What a reader
then finds must be one of the two, whole.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from portraits import gallery, versions

from meetmid.gallery.manifest import Manifest
from meetmid.gallery.store import Gallery
from meetmid.gallery.writer import GalleryWriter


def change(path: Path, held: dict[str, int], rng: random.Random, tell) -> dict[str, int]:
    """One random change; returns what the gallery then holds."""
    kind = rng.choice(["append", "append", "remove", "replace", "compact", "save", "extend"])
    names = list(held)
    some = rng.sample(names, min(len(names), rng.randint(1, 3)))
    if kind == "remove":
        after = {name: version for name, version in held.items() if name not in some}
    elif kind == "replace":
        new = {name: rng.randrange(10**6) for name in some}
        after = {name: version for name, version in held.items() if name not in some} | new
    elif kind in ("append", "extend"):
        new = {f"n{rng.randrange(10**9)}": rng.randrange(10**6) for _ in range(rng.randint(1, 3))}
        after = {**held, **new}
    elif kind == "save":
        after = {f"s{rng.randrange(10**9)}": rng.randrange(10**6) for _ in range(rng.randint(1, 4))}
    else:
        after = held
    tell(after)
    if kind == "save":
        gallery(after).save(path)
        return after
    if kind == "extend":
        empty = gallery({})
        with GalleryWriter.extend(path, empty, new, str(rng.random()), replaces=False) as writer:
            for name, version in new.items():
                writer.append(gallery({name: version}))
            writer.finish()
        return after
    with Gallery.open(path, "a") as writer:
        if kind == "remove":
            writer.remove(some)
        elif kind == "compact":
            writer.compact()
        else:
            getattr(writer, kind)(gallery(new))
    return after


def work(path: Path, held: dict[str, int], seed: int, pipe: int) -> None:
    """Change the gallery until killed."""
    rng = random.Random(seed)

    def tell(state: dict[str, int]) -> None:
        os.write(pipe, json.dumps(state).encode() + b"\n")

    while True:
        held = change(path, held, rng, tell)
        os.write(pipe, b"done\n")


def main() -> None:
    path, kills = Path(sys.argv[1]), int(sys.argv[2])
    held = {"first": 1, "second": 2}
    gallery(held).save(path)
    rng, outcomes = random.Random(0), {"before": 0, "after": 0}
    for kill in range(kills):
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.close(reading)
            try:
                work(path, held, kill, writing)
            finally:
                os._exit(1)
        os.close(writing)
        time.sleep(rng.uniform(0.0, 0.06))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with os.fdopen(reading, "rb") as file:
            lines = file.read().split(b"\n")
        told = [line for line in lines[:-1] if line != b"done"]
        finished = len(lines[:-1]) - len(told)
        states = [held, *map(json.loads, told)]
        found = versions(Gallery.open(path))
        matching = [k for k, state in enumerate(states[finished:]) if versions(gallery(state)) == found]
        if not matching:
            raise SystemExit(f"kill {kill}: {sorted(found)} is neither {states[finished]} nor what was to follow")
        outcomes["after" if matching[-1] else "before"] += 1
        held = states[finished + matching[-1]]
    with Gallery.open(path, "a") as writer:
        writer.compact()  # a change gives up an addition that was under way
        named = {name for shard in writer.manifest.shards for name in shard.files}
    left = {file.name for file in path.iterdir()} - named
    if left != {"manifest.json", "lock"} or not isinstance(Manifest.read(path)[0], Manifest):
        raise SystemExit(f"files were left over: {sorted(left)}")
    print(json.dumps(outcomes))


main()
