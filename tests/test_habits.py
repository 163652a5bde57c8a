"""What ships and what is published: wheel, sdist, documentation site, lower bounds."""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_every_page_is_on_the_site() -> None:
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").split("\nnav:\n")[1]
    listed = re.findall(r": ([\w/-]+\.md)$", nav, re.MULTILINE)
    assert len(listed) == len(set(listed))
    at_root = {"readme.md", "contributing.md", "security.md", "changelog.md"}
    assert {page for page in listed if "/" not in page} == {path.name for path in (ROOT / "docs").glob("*.md")} | at_root
    assert set(re.findall(r'"([A-Z]+)"', (ROOT / "tools" / "site.py").read_text(encoding="utf-8"))) == {name[:-3].upper() for name in at_root}


@pytest.mark.parametrize("package", ["torch", "scikit-learn", "numpy", "pandas"])
def test_the_oldest_versions_that_are_tested_are_those_that_are_promised(package: str) -> None:
    promised = next(line for line in PROJECT["project"]["dependencies"] if re.match(rf"{package}>=", line))
    told = subprocess.run(["make", "--dry-run", "--always-make", "test-oldest"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    installs = [line for line in told.splitlines() if ".venv-oldest/bin/python -m pip" in line]
    assert len(installs) == 2 and all(promised.replace(">=", "==") in line.split() for line in installs)


@pytest.mark.slow
def test_the_site_builds_without_a_broken_link(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="the site's tools are an extra: pip install 'temperance[site]'")
    built = subprocess.run([sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr[-3000:]
    assert (tmp_path / "search" / "search_index.json").is_file()
    assert "temperance.search.search.search" in (tmp_path / "reference" / "verbs" / "index.html").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_what_ships_works_in_a_clean_environment(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="the build backend is not installed")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(tmp_path)], cwd=ROOT, check=True, capture_output=True)
    (built,) = tmp_path.iterdir()
    with zipfile.ZipFile(built) if kind == "wheel" else tarfile.open(built) as archive:
        names = archive.namelist() if isinstance(archive, zipfile.ZipFile) else archive.getnames()
    missing = [name for name in ("py.typed", "report/style.css", "report/notebook.html") if not any(n.endswith(f"temperance/{name}") for n in names)]
    assert not missing, f"the {kind} leaves out {missing}"
    assert not any("__pycache__" in n or "/.venv" in n for n in names)
    home = tmp_path / "clean"
    venv.create(home, with_pip=True)
    python = str(home / "bin" / "python")
    here = Path(sysconfig.get_path("purelib", vars={"base": str(home), "platbase": str(home)}))
    # What it depends on is that of these tests; the package itself has to come from what was built.
    others = [path for path in sys.path if path.endswith("site-packages")]
    (here / "others.pth").write_text("\n".join(others), encoding="utf-8")
    pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", str(built)]
    subprocess.run(pip, check=True, capture_output=True)
    code = "import temperance as tp; print(tp.__file__); print(len(dir(tp))); print(tp.Cocktail(tp.L2(1e-3))._repr_html_()[:24])"
    said = subprocess.run([python, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True).stdout.splitlines()
    assert Path(said[0]).is_relative_to(home) and int(said[1]) > 80 and said[2] == '<div class="temperance">'
    shell = subprocess.run([str(home / "bin" / "temperance"), "--version"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert PROJECT["project"]["version"] in shell.stdout


def test_the_answers_to_where_does_it_live_are_there() -> None:
    table = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("## Where does it live?")[1].split("\n\n")[1]
    rows = table.splitlines()[2:]
    assert len(rows) >= 10
    for row in rows:
        paths = re.findall(r"`((?:[a-z_]+/)+[a-z_]*(?:\.py)?)`", row)
        assert paths and all((ROOT / "src" / "temperance" / path).exists() for path in paths), row


def test_a_test_that_a_page_names_is_there() -> None:
    pages = sorted((ROOT / "docs").glob("*.md"))
    named = {found for page in pages for found in re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?", page.read_text(encoding="utf-8"))}
    gone = [
        f"{file}::{name}" for file, name in named if not (ROOT / file).is_file() or (f"def {name}(" not in (ROOT / file).read_text(encoding="utf-8") and name)
    ]
    assert len(named) > 30 and not gone
