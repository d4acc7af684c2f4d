"""What a command line names as songs."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from services.cli.sources import Songs, SourceError, several
from tests.support import media

URL = "https://example.org/a.mp3"


def test_urls_songs_folders_and_lists_may_be_mixed(tmp_path: Path) -> None:
    song = media.write_audio(tmp_path / "song.mp3", media.song(1))
    folder = tmp_path / "album"
    (folder / "cd2").mkdir(parents=True)
    for name in ("b.FLAC", "a.mp3", "cover.jpg", "cd2/c.opus"):
        (folder / name).write_bytes(b"\x00")
    listed = tmp_path / "songs.txt"
    listed.write_text(f"\ufeff# mine\n\n  {URL}?1  \nno url\n", encoding="utf-8")
    assert several([URL, str(song), str(folder), str(listed)]) == Songs(
        [URL, f"{URL}?1", "no url"],
        [song, folder / "a.mp3", folder / "b.FLAC", folder / "cd2/c.opus"],
    )


def test_a_dash_is_a_list_on_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    given = SimpleNamespace(buffer=io.BytesIO(f"{URL}\n\xe9\n".encode()))
    monkeypatch.setattr(sys, "stdin", given)
    assert several(["-"]) == Songs([URL, "é"], [])


@pytest.mark.parametrize("suffix", ["mp3", "wav", "flac", "ogg", "m4a"])
def test_a_song_is_never_taken_for_a_list(tmp_path: Path, suffix: str) -> None:
    song = media.write_audio(tmp_path / f"song.{suffix}", media.song(1))
    assert several([str(song)]) == Songs([], [song])


def test_a_letter_that_is_cut_in_two_is_still_a_text(tmp_path: Path) -> None:
    listed = tmp_path / "songs.txt"
    listed.write_text("#" + "a" * 4094 + "é\n" + URL, encoding="utf-8")
    assert several([str(listed)]) == Songs([URL], [])


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file"):
        several([str(tmp_path / "nowhere")])
    with pytest.raises(SourceError, match="no song in this folder"):
        several([str(tmp_path)])
