"""A run folder that somebody removes while a command works in it: said at once, and never written anew by halves."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from evalsuite.errors import OutputError
from evalsuite.spine.folder import RunFolder, claimed
from evalsuite.spine.running_context import while_there


@pytest.mark.parametrize("made_anew", [False, True])
def test_a_folder_that_was_removed_ends_the_command(tmp_path: Path, made_anew: bool) -> None:
    folder = RunFolder(tmp_path / "run")
    asked = while_there(folder, None)
    with claimed(folder):
        assert not asked()
        shutil.rmtree(folder.path)
        if made_anew:
            folder.work.mkdir(parents=True)
        with pytest.raises(OutputError, match="removed while the command was working in it"):
            asked()


def test_it_says_what_the_user_says(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    with claimed(folder):
        assert while_there(folder, lambda: True)()
        assert not while_there(folder, lambda: False)()
