"""What a user installs: every file of every room, nothing else, and a base that stays light."""

from __future__ import annotations

import stat
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from tests.support.tree import ROOT, copy_tree, rooms

BIN = Path(sys.executable).parent
# Never in the base install: they are the worker's and the demo's.
HEAVY = ("faust", "mode", "aiokafka", "numpy", "pyarrow", "pandas", "sklearn")


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
