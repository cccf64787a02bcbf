"""The client's benchmark says in a sentence what it lacks; its figures are no test, for a machine may be busy."""

from pathlib import Path

import pytest

from tests.benchmarks.client_bench import main


def test_without_go_it_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Where there is no Go, nothing is measured, and one line says what to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["--report", str(tmp_path / "report.json")]) == 4
    told = capsys.readouterr().err
    assert "needs Go" in told
    assert told.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
