"""Time and peak memory of S_max over gallery hypotheses, then S_add over probe hypotheses, beside what else computes it.

    python benchmarks/fuse.py [--shapes 1x1 10x10] [--templates FILE.npz ...] [--real-shapes 24x8] [--peers] [--rounds N]

Every contender runs in a process of its own, taking turns, ``--rounds`` times; medians. Sides are P x 48 and G x 4389 unit
vectors of 512 components that cluster as hypotheses of one face do (a seed makes them), and of every ``--templates FILE.npz``
(arrays ``p`` and ``g``, made by ``--make FILE --matcher NAME``) the real ones of a matcher and simulated captures of test
people. The yardstick is the best float32 product of the same shape (NumPy either way round, onnxruntime, PyTorch), which
computes no maximum. ``--peers`` adds faiss (IndexFlatIP, then the maxima of each portrait), usearch (exact) and maxsim-cpu
where they are installed, for up to 20 synthetic portraits and for real templates.
Writes benchmarks/results/fuse.csv.

    python benchmarks/fuse.py --slopes

How time grows with each of P, G, M and N over two decades from 1 GFLOP, beside the best product of the same shapes: slopes in
log-log, benchmarks/results/fuse_slopes.csv and .png.

    python benchmarks/fuse.py --paper

The paper's whole experiment, 650 probes x 48 against 130 portraits x 4389, the gallery float16 in a mapped file: seconds and
what the peak of memory adds, by each precision (minutes). Writes benchmarks/results/fuse_paper.csv.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

M, N, D = 48, 4389, 512
SHIFTED = 997
"""Portraits whose hypotheses are scattered by different rows of the same noise."""

RESTING = 0.3
"""Seconds after which the threads of the library that was measured before no longer wait in a loop."""

MOST_WITH_PEERS = 20
"""Synthetic portraits that the peers are measured with, at most: they take minutes a call."""
Call = Callable[[], object]


def sides(probes: int, portraits: int, templates: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """(P, M, D) and (G, N, D) unit float32."""
    if templates:
        with np.load(templates) as real:
            p, g = (t.reshape(len(t), -1, t.shape[-1]) for t in (real["p"], real["g"]))
            known = len(p)
        rng = np.random.default_rng(0)
        p = p[np.arange(probes) % len(p)]
        again = (np.arange(probes) >= known)[:, None, None]  # more probes than there are: nearly the same ones
        p = p + 0.02 * np.abs(p).max() * rng.standard_normal(p.shape, np.float32) * again
        p, g = p.astype(np.float32), g[:portraits]
    else:
        rng = np.random.default_rng(0)
        faces = rng.standard_normal((portraits, 1, D), np.float32)
        noise = np.float32(0.7) * rng.standard_normal((N + SHIFTED, D), np.float32)
        g = np.empty((portraits, N, D), np.float32)
        for k in range(portraits):  # a thousand portraits fill the memory: nothing of their size is there twice
            own = k % SHIFTED
            np.add(faces[k], noise[own : own + N], out=g[k])
        p = faces[rng.integers(0, portraits, probes)] + np.float32(0.9) * rng.standard_normal((probes, M, D), np.float32)
    for side in (p, g):
        for k in range(len(side)):
            side[k] /= np.maximum(np.linalg.norm(side[k], axis=-1, keepdims=True), np.float32(1e-9))
    return p, g


def meetmid_call(p: np.ndarray, g: np.ndarray, precision: str) -> Call:
    import meetmid

    return lambda: meetmid.fuse(p[:, None], g[:, None], unit=True, precision=precision, add="sum")


def einsum(p: np.ndarray, g: np.ndarray) -> Call:
    return lambda: np.einsum("pmd,gnd->pmgn", p, g, optimize=True).max(axis=3).sum(axis=1)


def blocked(p: np.ndarray, g: np.ndarray) -> Call:
    flat = p.reshape(-1, p.shape[-1])
    return lambda: np.stack([(flat @ t.T).max(axis=1).reshape(len(p), -1).sum(axis=1) for t in g], axis=1)


def torch_call(p: np.ndarray, g: np.ndarray) -> Call:
    import torch

    flat, portraits = torch.from_numpy(p.reshape(-1, p.shape[-1])), torch.from_numpy(g)
    return lambda: torch.stack([
        (flat @ t.T).amax(dim=1).reshape(len(p), -1).sum(dim=1) for t in portraits
    ], dim=1).numpy()


def faiss_call(p: np.ndarray, g: np.ndarray) -> Call:
    import faiss

    flat, indexes = p.reshape(-1, p.shape[-1]), []
    for t in g:
        index = faiss.IndexFlatIP(t.shape[-1])
        index.add(t)
        indexes.append(index)
    return lambda: np.stack([i.search(flat, 1)[0].reshape(len(p), -1).sum(axis=1) for i in indexes], axis=1)


def usearch_call(p: np.ndarray, g: np.ndarray) -> Call:
    from usearch.index import search

    flat = p.reshape(-1, p.shape[-1])
    return lambda: np.stack([
        (1 - search(t, flat, 1, "ip", exact=True).distances).reshape(len(p), -1).sum(axis=1) for t in g
    ], axis=1)


def maxsim_call(p: np.ndarray, g: np.ndarray) -> Call:
    import maxsim_cpu

    return lambda: np.stack([np.asarray(maxsim_cpu.maxsim_scores(probe, g)) for probe in p])


def product(p: np.ndarray, g: np.ndarray, how: str) -> Call:
    a, b = p.reshape(-1, p.shape[-1]), g.reshape(-1, g.shape[-1])
    out = np.empty((len(a), len(b)), np.float32)
    if how == "numpy":
        return lambda: np.matmul(a, b.T, out=out)
    if how == "numpy turned":
        turned = out.reshape(len(b), len(a))
        return lambda: np.matmul(b, a.T, out=turned)
    if how == "torch":
        import torch

        x, y, z = torch.from_numpy(a), torch.from_numpy(b), torch.from_numpy(out)
        return lambda: torch.mm(x, y.T, out=z)
    import onnxruntime

    from meetmid.scores.encoding import FLOAT, attribute, model, node, value

    named = [value(name, FLOAT, 2) for name in "abc"]
    graph = model([node("Gemm", ("a", "b"), ("c",), attribute("transB", 1))], named[:2], named[2:])
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"a": b, "b": a})


PRODUCTS = ("numpy", "numpy turned", "onnxruntime", "torch")
PEERS: dict[str, Callable[[np.ndarray, np.ndarray], Call]] = {
    "numpy einsum": einsum, "numpy by portrait": blocked, "torch by portrait": torch_call, "faiss IndexFlatIP": faiss_call,
    "usearch exact": usearch_call, "maxsim-cpu": maxsim_call,
}
OURS = {f"meetmid {precision}": precision for precision in ("float32", "screened", "int8")}


def worker(name: str, probes: int, portraits: int, templates: Path | None, seconds: float) -> None:
    """One contender: median seconds per call, what its peak memory adds, and how far its scores are off."""
    p, g = sides(probes, portraits, templates)
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    if name.startswith("product: "):
        call = product(p, g, name.removeprefix("product: "))
    else:
        call = meetmid_call(p, g, OURS[name]) if name in OURS else PEERS[name](p, g)
    begun, times = time.perf_counter(), []
    result = np.asarray(call())
    slow = time.perf_counter() - begun > 5
    begun = time.perf_counter()
    while len(times) < (1 if slow else 3) or (time.perf_counter() - begun < seconds and len(times) < 200):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    peak = memory("VmHWM") - before
    exact = blocked(p[:4].astype(np.float64), g[:4].astype(np.float64))()
    off = "" if name.startswith("product") else float(np.abs(result[:4, :4] - exact).max())
    print(json.dumps({"seconds": statistics.median(times), "peak_mib": peak / 1024, "worst_error": off}))


def memory(what: str) -> int:
    """KiB of this process, as Linux tells."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith(what)).split()[1])


def make(target: Path, name: str) -> None:
    """Real templates: 8 portraits of test people degraded by every path of up to three steps, and 24 of their far captures at
    16 blur levels, by one matcher."""
    from economy import card
    from people import captures, pictures, portraits

    import meetmid

    portraits_of, probes_of = pictures("test", 8, 3)
    matcher = meetmid.Matcher(
        matcher=card(name), preset="paper", scales=(2,), hallucinator="edsr-face", lr_size=24, keep_crops=False
    )
    template = matcher.card.contract.alignment
    gallery = matcher.enroll(list(portraits(portraits_of, template)), faces="crop")
    probes = matcher.lift(list(captures(probes_of, template, 24, 7)), faces="crop")
    kept = probes.pool.weights.sum(axis=(1, 2)) > 0
    np.savez(target, p=probes.pool.templates[kept], g=gallery.pool.templates)


def slopes(folder: Path, rounds: int) -> None:
    """Seconds against size, one dimension growing at a time."""
    from machine import write_csv

    base, rng = {"P": 1, "G": 5, "M": M, "N": N}, np.random.default_rng(0)
    rows: list[dict[str, object]] = []
    for what, smallest in base.items():
        points = []
        for factor in (1, 2, 5, 10, 20, 50, 100):
            size = {**base, what: smallest * factor}
            p = rng.standard_normal((size["P"], size["M"], D), np.float32) / np.float32(D**0.5)
            g = rng.standard_normal((size["G"], size["N"], D), np.float32) / np.float32(D**0.5)
            calls = [meetmid_call(p, g, "float32"), *(product(p, g, how) for how in PRODUCTS)]
            times: list[list[float]] = [[] for _ in calls]
            for _ in range(rounds):
                for call, own in zip(calls, times, strict=True):
                    time.sleep(RESTING)
                    call()
                    for _ in range(max(2, 20 // factor)):
                        begun = time.perf_counter()
                        call()
                        own.append(time.perf_counter() - begun)
            ours, *others = (statistics.median(own) for own in times)
            points.append((2 * p[..., 0].size * g[..., 0].size * D, ours, min(others)))
        x, *y = np.log10(np.array(points)).T
        own, best = (round(float(np.polyfit(x, its, 1)[0]), 3) for its in y)
        print(what, f"slope {own}, the best product's {best}", flush=True)
        rows += [
            {"grows": what, "flop": flop, "ms": round(1e3 * ours, 3), "best_product_ms": round(1e3 * product, 3),
             "share_of_best_product": round(product / ours, 3), "slope": own, "slope_of_best_product": best}
            for flop, ours, product in points
        ]
    write_csv(folder / "fuse_slopes.csv", rows)
    from matplotlib.figure import Figure

    axes = (figure := Figure((6, 4), dpi=120)).subplots()
    for what in base:
        its = [row for row in rows if row["grows"] == what]
        axes.loglog([r["flop"] for r in its], [r["ms"] for r in its], "o-", label=f"{what}: slope {its[0]['slope']}")
    axes.set(xlabel="operations", ylabel="milliseconds", title="S_max > S_add, float32")
    axes.legend()
    figure.savefig(folder / "fuse_slopes.png", bbox_inches="tight")


def paper_worker(precision: str, folder: Path) -> None:
    """The whole experiment once, from mapped files."""
    import meetmid

    p, g = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in "pg")
    meetmid.fuse(np.asarray(p[:1]), np.asarray(g[:1, :, :64]), precision=precision)  # compiled and imported
    out, before = np.empty((len(p), len(g)), np.float32), memory("RssAnon")
    peak, done = 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.02):
            peak = max(peak, memory("RssAnon"))

    thread = threading.Thread(target=watch)
    thread.start()
    begun = time.perf_counter()
    meetmid.fuse(p, g, precision=precision, out=out)
    seconds = time.perf_counter() - begun
    done.set()
    thread.join()
    print(json.dumps({"seconds": seconds, "peak_mib": (peak - before) / 1024, "sum": float(out.sum(dtype=np.float64))}))


def paper(folder: Path) -> None:
    """Each precision in a process of its own."""
    from machine import write_csv

    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as name:
        rng = np.random.default_rng(0)
        faces = rng.standard_normal((130, 1, 1, D), np.float32)
        p = np.lib.format.open_memmap(f"{name}/p.npy", "w+", np.float32, (650, 1, M, D))
        g = np.lib.format.open_memmap(f"{name}/g.npy", "w+", np.float16, (130, 1, N, D))
        for k in range(650):
            p[k] = faces[k % 130] + np.float32(0.9) * rng.standard_normal((1, M, D), np.float32)
        for k in range(130):
            g[k] = faces[k] + np.float32(0.7) * rng.standard_normal((1, N, D), np.float32)
        p.flush()
        g.flush()
        for precision in OURS.values():
            command = [sys.executable, __file__, "--worker", f"paper {precision}", "--templates", name]
            found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])
            rows.append({
                "precision": precision, "seconds": round(found["seconds"], 2), "peak_mib": round(found["peak_mib"]),
                "gflops": round(2.0 * 650 * M * 130 * N * D / found["seconds"] / 1e9, 1), "sum_of_scores": found["sum"],
            })
            print(rows[-1], flush=True)
    write_csv(folder / "fuse_paper.csv", rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", default=["1x1", "1x10", "10x10", "40x20"])
    parser.add_argument("--templates", type=Path, nargs="*", default=[])
    parser.add_argument("--real-shapes", nargs="+", default=["24x8", "200x8"])
    parser.add_argument("--make", type=Path, help="make real templates, write them to this file, and stop")
    parser.add_argument("--matcher", default="slimface-probe", help="whose they are")
    parser.add_argument("--slopes", action="store_true")
    parser.add_argument("--paper", action="store_true")
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="of timed calls per contender and round")
    parser.add_argument("--worker")
    parser.add_argument("--csv", type=Path, default=Path(__file__).parent / "results" / "fuse.csv")
    args = parser.parse_args()
    if args.make:
        make(args.make, args.matcher)
        return
    if args.slopes:
        slopes(args.csv.parent, args.rounds)
        return
    if args.paper:
        paper(args.csv.parent)
        return
    if args.worker and args.worker.startswith("paper "):
        paper_worker(args.worker.removeprefix("paper "), args.templates[0])
        return
    if args.worker:
        probes, portraits = map(int, args.shapes[0].split("x"))
        worker(args.worker, probes, portraits, next(iter(args.templates), None), args.seconds)
        return
    from machine import write_csv

    rows: list[dict[str, object]] = []
    made_up: list[tuple[Path | None, str]] = [(None, shape) for shape in args.shapes]
    for templates, shape in [*made_up, *((file, shape) for file in args.templates for shape in args.real_shapes)]:
        probes, portraits = map(int, shape.split("x"))
        peers = PEERS if args.peers and (templates or portraits <= MOST_WITH_PEERS) else {}
        names = [*(f"product: {how}" for how in PRODUCTS), *OURS, *peers]
        found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
        for _ in range(args.rounds):
            for name in names:
                command = [sys.executable, __file__, "--worker", name, "--shapes", shape, "--seconds", str(args.seconds)]
                command += ["--templates", str(templates)] if templates else []
                done = subprocess.run(command, capture_output=True, text=True, env=os.environ)
                if done.returncode:
                    print(f"{shape} {name}: {(done.stderr.strip().splitlines() or ['no answer'])[-1]}", file=sys.stderr)
                    continue
                found[name].append(json.loads(done.stdout.splitlines()[-1]))
        p, g = sides(1, 1, templates)
        work = 2.0 * probes * portraits * p[0].size * g[0].shape[0]
        best = min(statistics.median(r["seconds"] for r in found[f"product: {how}"]) for how in PRODUCTS
                   if found[f"product: {how}"])
        for name, runs in found.items():
            if not runs:
                continue
            seconds = statistics.median(r["seconds"] for r in runs)
            rows.append({
                "templates": templates.stem if templates else "synthetic", "shape": shape, "contender": name,
                "ms": round(1e3 * seconds, 3), "gflops": round(work / seconds / 1e9, 1),
                "share_of_best_product": round(best / seconds, 3), "rounds": len(runs),
                "peak_mib": round(max(r["peak_mib"] for r in runs)), "worst_error": runs[0]["worst_error"],
            })
            print(rows[-1], flush=True)
    write_csv(args.csv, rows)


if __name__ == "__main__":
    main()
