from pathlib import Path

import pytest
import typer

from fbsessiond.cli.writing import write_new
from fbsessiond.errors import DiskError


def test_new(tmp_path: Path) -> None:
    """Files are written with the folders that they lie in."""
    files = {tmp_path / "a" / "b" / "one": "é", tmp_path / "two": "2\n"}
    write_new(files)
    assert {path: path.read_text(encoding="utf-8") for path in files} == files


@pytest.mark.parametrize("kind", ["file", "folder", "dangling"])
def test_there(tmp_path: Path, kind: str) -> None:
    """Where one is there already, whatever it is, none is written."""
    there = tmp_path / "there"
    match kind:
        case "file":
            there.write_text("mine")
        case "folder":
            there.mkdir()
        case _:
            there.symlink_to(tmp_path / "nowhere")
    with pytest.raises(typer.BadParameter, match="there is there already, and nothing is overwritten"):
        write_new({tmp_path / "new": "x", there: "theirs"})
    assert list(tmp_path.iterdir()) == [there]
    assert kind != "file" or there.read_text() == "mine"


def test_unwritable(tmp_path: Path) -> None:
    """Where nothing can be written, that is said with the path."""
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match=r"can't write .*/file/?.*: (Not a directory|File exists)"):
        write_new({tmp_path / "file" / "below": "x"})
