"""What a user installs: every file of every room, nothing else, and a base that stays light."""

from __future__ import annotations

import ast
import stat
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from tests.support.tree import ROOT, copy_tree, rooms

BIN = Path(sys.executable).parent
# Never in the base install: they are the worker's and the demo's.
HEAVY = ("faust", "mode", "aiokafka", "numpy", "pyarrow", "pandas", "sklearn")

# pydantic requires exactly one version of it and hands its types on.
ALONG = {"pydantic_core"}


def _run(*command: str | Path, cwd: Path) -> str:
    told = subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert told.returncode == 0, f"{' '.join(map(str, command))}\n{told.stdout}{told.stderr}"
    return told.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the sources without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    tree = copy_tree(folder / "tree")
    _run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, tree, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def clean_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that holds the wheel with its base dependencies and nothing else."""
    folder = tmp_path_factory.mktemp("clean")
    python = folder / "venv" / "bin" / "python"
    _run(BIN / "uv", "venv", "-q", "--python", sys.executable, folder / "venv", cwd=folder)
    install = ("pip", "install", "-q", "--python", python, "-c", ROOT / "requirements.lock", wheel)
    _run(BIN / "uv", *install, cwd=folder)
    return python


def test_every_file_of_every_room_is_in_the_wheel(wheel: Path) -> None:
    """Code, ``.avsc``, templates and settings of each room lie under ``paritygate/`` and are real files."""
    wanted = {
        f"paritygate/{name}/{path.relative_to(room).as_posix()}"
        for name, room in rooms().items()
        for path in room.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        entries = archive.infolist()

    assert len(rooms()) >= 8
    assert not wanted - {entry.filename for entry in entries}
    assert not [entry.filename for entry in entries if stat.S_ISLNK(entry.external_attr >> 16)]


def test_the_wheel_claims_no_generic_name(wheel: Path) -> None:
    """At its top the wheel holds ``paritygate`` and its metadata: never ``schemas`` or ``router``."""
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}

    assert {top for top in tops if not top.endswith(".dist-info")} == {"paritygate"}


def test_the_base_install_serves_a_model_service(clean_python: Path, tmp_path: Path) -> None:
    """With base dependencies only, publisher and watcher import, and nothing heavy is there or gets loaded."""
    program = f"""
import sys
from importlib.util import find_spec
import paritygate.producers.publisher, paritygate.producers.shadow, paritygate.router.watcher
print([name for name in {HEAVY!r} if find_spec(name) or name in sys.modules])
"""
    assert _run(clean_python, "-c", program, cwd=tmp_path).strip() == "[]"


def test_the_base_install_has_its_data_files(clean_python: Path, tmp_path: Path) -> None:
    """Contracts and the broker's settings are read from the installed package, not from the checkout."""
    program = """
from importlib.resources import files
import paritygate
names = ("schemas/avro", "cli/broker/pom.xml", "cli/broker/server.properties", "cli/broker/log4j2.properties")
root = files("paritygate")
print(all(root.joinpath(n).is_file() or any(root.joinpath(n).iterdir()) for n in names), paritygate.__file__)
"""
    told = _run(clean_python, "-c", program, cwd=tmp_path)

    assert told.startswith("True ")
    assert str(ROOT) not in told


def test_the_command_line_works_on_the_base_install(clean_python: Path, tmp_path: Path) -> None:
    """``paritygate --version`` and ``--help`` need no extra."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

    assert version in _run(clean_python.parent / "paritygate", "--version", cwd=tmp_path)
    assert "broker" in _run(clean_python.parent / "paritygate", "--help", cwd=tmp_path)


def test_every_lock_is_whole_and_names_no_address() -> None:
    """Each package of each lock has a version and hashes; no line tells where to download."""
    for name in ("requirements.lock", "deploy/worker.lock", "deploy/demo.lock"):
        text = (ROOT / name).read_text()
        # One block a package: its name and version, then its hashes, then who wants it.
        blocks = [block for block in text.split("\n") if block and block[0] not in "# "]

        assert len(blocks) > 30
        assert all("==" in block for block in blocks)
        assert text.count("--hash=sha256:") >= len(blocks)
        assert not any(word in text for word in ("://", "--index", "--find-links", "@ file"))


def test_the_locks_agree() -> None:
    """The image runs the versions that were tested."""

    def pins(name: str) -> set[str]:
        lines = (ROOT / name).read_text().splitlines()
        return {line.split(" ")[0] for line in lines if line and line[0] not in "# "}

    assert pins("deploy/worker.lock") <= pins("deploy/demo.lock") <= pins("requirements.lock")


def _declared() -> dict[str, SpecifierSet]:
    """Every distribution that pyproject.toml names, in the base, an extra or the dev group."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"].values()
    named = [*project["project"]["dependencies"], *chain(*extras), *project["dependency-groups"]["dev"]]
    wanted = [Requirement(text) for text in named]
    return {canonicalize_name(one.name): one.specifier for one in wanted if one.name != "paritygate"}


def test_the_lock_is_of_this_pyproject() -> None:
    """Every requirement is locked at a version that pyproject.toml allows; else ``make lock`` was forgotten."""
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pins = dict(line.split(" ")[0].split("==") for line in lines if line and line[0] not in "# ")

    missing = {name for name in _declared() if name not in pins}
    outside = {
        name: pins[name] for name, allowed in _declared().items() if name in pins and pins[name] not in allowed
    }
    assert (missing, outside) == (set(), {})


def test_every_import_is_declared() -> None:
    """What the code imports it also requires: a package that only came along with another may go with it."""
    owners = packages_distributions()
    imported: dict[str, str] = {}
    for name, room in rooms().items():
        for path in room.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                for module in _modules(node):
                    imported.setdefault(module.partition(".")[0], f"{name}/{path.relative_to(room)}")

    undeclared = {
        f"{module} ({where})"
        for module, where in imported.items()
        if module not in sys.stdlib_module_names
        and module not in {"paritygate", *ALONG}
        and not {canonicalize_name(owner) for owner in owners.get(module, ())} & _declared().keys()
    }
    assert undeclared == set()


def _modules(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
