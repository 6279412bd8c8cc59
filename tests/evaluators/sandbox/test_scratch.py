from __future__ import annotations

from exme.evaluators.sandbox.scratch import empty, used


def test_the_scratch_folder_is_measured_and_emptied_without_following_links(tmp_path):
    kept, folder = tmp_path / "kept", tmp_path / "scratch"
    kept.mkdir()
    (kept / "file").write_text("x")
    folder.mkdir()
    (folder / "link").symlink_to(kept)
    deepest = folder
    for _ in range(50):
        deepest /= "deep"
        deepest.mkdir()
    (deepest / "file").write_bytes(bytes(100_000))
    assert 51 * 4096 + 100_000 <= used(str(folder), 1 << 30) < 1 << 19
    assert used(str(folder), 50_000) > 50_000
    empty(str(folder))
    assert list(folder.iterdir()) == []
    assert (kept / "file").read_text() == "x"
