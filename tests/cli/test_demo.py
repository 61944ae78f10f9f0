"""The demo, from end to end."""

from __future__ import annotations

from pathlib import Path

from tests.cli.stage import runner


def test_the_demo_ends_well(tmp_path: Path) -> None:
    """Two protocols, a refusal, a 429 and a kill in the middle: every clip is there, and nothing was bought twice."""
    said = runner("--json", "demo", cwd=tmp_path, FAL_KEY="canary-of-a-real-key")
    assert said.code == 0, said.out + said.err
    records = said.records
    last = records[-1]
    assert (last["type"], last["ok"], last["jobs"], last["done"], last["failed"]) == (
        "demo",
        True,
        26,
        25,
        1,
    )
    assert (last["accepted"], last["bought_twice"], last["answers_429"]) == (26, 0, 1)
    assert len(list((tmp_path / "state" / "demo" / "outputs").rglob("*.mp4"))) == 25
    saved = [each for each in records if each.get("event") == "saved"]
    begins = [each for each in records if each["type"] == "begin"]
    # The kill may come after a clip is recorded and before the line that tells of it: at most one for each download.
    assert 25 - 8 <= len(saved) <= 25
    assert [each["counts"]["done"] > 0 for each in begins] == [False, True]
    assert last["seconds"] < 60
    assert "canary" not in said.out + said.err
