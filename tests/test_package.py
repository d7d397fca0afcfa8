"""What the package promises as a whole: a light import, whole models, rooms that import only downwards."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import meetmid
from meetmid.runtime.cards import read_card
from meetmid.runtime.registry import list_models

ROOT = Path(meetmid.__file__).parent
HEAVY = {"onnxruntime", "numba", "torch", "cv2", "scipy", "matplotlib", "insightface", "PIL", "numpy"}


def test_import_is_light_and_changes_nothing(tmp_path: Path) -> None:
    code = """
        import json, os, sys, warnings
        before = dict(os.environ), list(warnings.filters), os.listdir(".")
        import meetmid
        after = dict(os.environ), list(warnings.filters), os.listdir(".")
        print(json.dumps([sorted(m.split(".")[0] for m in sys.modules), before == after]))
    """
    lines = "\n".join(line.strip() for line in code.strip().splitlines())
    done = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=True, cwd=tmp_path)
    modules, unchanged = json.loads(done.stdout)
    assert not HEAVY & set(modules)
    assert unchanged


def test_every_public_name_resolves_and_is_documented() -> None:
    for name in meetmid.__all__:
        value = getattr(meetmid, name)
        assert name == "PRESETS" or value.__doc__, name
    assert set(meetmid.__all__) <= set(dir(meetmid))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = meetmid.nonsense  # type: ignore[attr-defined]


def test_the_package_is_typed() -> None:
    assert (ROOT / "py.typed").is_file()


def test_every_shipped_model_is_the_file_its_card_describes() -> None:
    cards = list_models()
    names = {"finder", "midface-s", "midface-s-int8", "slimface-gallery", "slimface-probe", "edsr-face-x2", "edsr-face-x4",
             "edsr-face-x8", "edsr-recognition-x2", "edsr-recognition-x4", "edsr-recognition-x8"}
    assert names <= {card.name for card in cards}
    for card in cards:
        card.verify()
        card.reference_means()
        assert card.gmac > 0
        assert card.facts["figures"]
        assert card.facts["use"]["limits"]
        for folder in card.variants.values():
            less = read_card(folder / "card.toml")
            assert (less.contract, less.facts["training"]["sha256"]) == (card.contract, card.sha256)
    assert sum(os.path.getsize(card.path) for card in cards) < 30e6


def _imports(path: Path) -> set[str]:
    """Modules of the package that a module imports when it is itself imported."""
    found: set[str] = set()
    pending: list[ast.stmt] = list(ast.parse(path.read_text(encoding="utf-8")).body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("meetmid"):
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("meetmid")}
        elif isinstance(node, ast.If | ast.Try | ast.With):
            pending += node.body
    return found


def _modules() -> dict[str, Path]:
    names = {}
    for path in ROOT.rglob("*.py"):
        parts = ["meetmid", *path.relative_to(ROOT).with_suffix("").parts]
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


def test_modules_import_each_other_without_circles() -> None:
    modules = _modules()
    edges = {name: {m for m in _imports(path) if m in modules and m != name} for name, path in modules.items()}
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " -> ".join((*above, name))
        if name not in done:
            for below in edges[name]:
                visit(below, (*above, name))
            done.add(name)

    for name in edges:
        visit(name, ())




@pytest.mark.parametrize(
    ("lower", "upper"),
    [
        ("faces", ("probes", "gallery", "templates", "scores", "matcher", "result", "cli")),
        ("runtime", ("faces", "probes", "gallery", "templates", "scores", "matcher", "result", "cli", "images")),
        ("templates", ("probes", "gallery", "scores", "matcher", "result", "cli")),
        ("gallery", ("probes", "scores", "matcher", "result", "cli")),
        ("probes", ("gallery", "scores", "matcher", "result", "cli")),
        ("scores", ("probes", "gallery", "matcher", "result", "cli")),
        ("evaluation", ("cli", "matcher")),
        ("networks", ("exporting", "cli", "matcher", "runtime", "images")),
        ("exporting", ("probes", "gallery", "templates", "scores", "matcher", "result", "cli")),
    ],
)
def test_rooms_import_only_downwards(lower: str, upper: tuple[str, ...]) -> None:
    for name, path in _modules().items():
        if name.startswith(f"meetmid.{lower}"):
            above = {m for m in _imports(path) if m.split(".")[1:2] and m.split(".")[1] in upper}
            assert not above, f"{name} imports {above}"


def test_only_training_and_exporting_import_torch() -> None:
    """Inference, and the import of everything else, works without it."""
    for name, path in _modules().items():
        if name.startswith(("meetmid.exporting", "meetmid.networks", "meetmid.models.")):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module or "" for node in tree.body if isinstance(node, ast.ImportFrom)}
        assert not {"torch", "onnx", "onnxscript", "safetensors"} & {name.split(".")[0] for name in names}, name
        assert not [name for name in _imports(path) if name.startswith(("meetmid.exporting", "meetmid.networks"))], name


def test_only_the_command_line_prints() -> None:
    for name, path in _modules().items():
        if name.startswith(("meetmid.cli", "meetmid.runtime.facts", "meetmid.runtime.doctor")):
            continue
        calls = [n for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Call)]
        assert not [c for c in calls if isinstance(c.func, ast.Name) and c.func.id == "print"], name
