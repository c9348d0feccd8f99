"""The release: one version everywhere, workflows that pin what they use, and an image without root."""

import re
from pathlib import Path

import pytest
import yaml

from scripts import release

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def test_everything_names_one_version():
    assert release.faults() == []


def test_the_citation_has_what_its_format_asks_for():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors", "version", "license"} <= citation.keys()
    assert citation["cff-version"] == "1.2.0"


def test_a_tag_of_another_version_or_without_a_date_is_refused(tmp_path, monkeypatch):
    for name in release.PLACES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text((ROOT / name).read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(release, "ROOT", tmp_path)
    version = release.first(release.PLACES["CITATION.cff"], "CITATION.cff")
    assert len(release.faults("v99.0.0")) >= len(release.PLACES)
    changes, citation = (tmp_path / name for name in release.DATES)
    changes.write_text(f"## [{version}] - 2027-02-30\n", encoding="utf-8")
    citation.write_text(f"version: {version}\ndate-released: 2027-02-28\n", encoding="utf-8")
    assert release.faults(f"v{version}") == ["CHANGELOG.md has '2027-02-30' for the date", "the dates differ"]
    changes.write_text(f"## [{version}] - 2027-02-28\n", encoding="utf-8")
    assert release.faults(f"v{version}") == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=[path.name for path in WORKFLOWS])
def test_a_workflow_pins_its_actions_and_holds_no_secret(path):
    text = path.read_text(encoding="utf-8")
    assert yaml.safe_load(text)["jobs"]
    used = re.findall(r"uses: (\S+)", text)
    assert used
    for action in used:
        local = action.startswith("./") and (ROOT / action).is_file()
        assert local or re.fullmatch(r"[\w-]+/[\w-]+@v\d+\.\d+\.\d+", action), action
    assert "secrets." not in text
    assert re.search(r"^permissions:\n  contents: read$", text, re.MULTILINE), "it may do more than read"


def test_the_wheel_is_tried_on_every_python_that_is_declared():
    declared = re.findall(r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    text = (ROOT / ".github" / "workflows" / "wheel.yml").read_text(encoding="utf-8")
    (tried,) = re.findall(r"^ +python: \[(.*)\]$", text, re.MULTILINE)
    assert re.findall(r"3\.\d+", tried) == declared


def test_the_image_has_what_the_build_needs_and_no_root():
    recipe = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    let_in = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE)
    assert {"src", "share", "pyproject.toml", "README.md", "LICENSE"} == set(let_in)
    assert all((ROOT / name).exists() for name in let_in)
    steps = [line.split()[0] for line in recipe.splitlines() if re.match(r"[A-Z]+ ", line)]
    assert steps[-2:] == ["ENTRYPOINT", "CMD"]
    assert steps.index("USER") < steps.index("ENTRYPOINT")
    assert 'ENTRYPOINT ["regrain"]' in recipe
    assert "torch]" not in recipe
