"""What docs/research.md says can be run, runs."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_the_python_examples_run(monkeypatch):
    page = (ROOT / "docs" / "research.md").read_text(encoding="utf-8")
    examples = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(examples) == 2
    monkeypatch.chdir(ROOT)
    exec(compile("\n".join(examples), "research.md", "exec"), {})
