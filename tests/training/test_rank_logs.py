"""The log of each process in the run folder, next to what the main one prints."""

from pathlib import Path

import unetkit

SMALL = ["model.widths=[4,8]", "train.steps=2", "train.batch=2", "train.patch=32", "train.threads=1"]


def test_a_process_keeps_its_log(tmp_path: Path) -> None:
    keys = [*SMALL, "train.rank_logs=true", "train.log_format=mindspore", "data.split.fold=0"]
    run = unetkit.train("isbi", data="sample", out=tmp_path / "run", overrides=keys)
    lines = (run.path / "LOG0" / "log.log").read_text().splitlines()
    assert sum(line.startswith("step: ") for line in lines) == 2
    assert "============== End Training ==============" in lines
    assert any("soft_dice_two_class" in line for line in lines)
