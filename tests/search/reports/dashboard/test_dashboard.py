"""The dashboard, asked over HTTP like a browser would."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from wsgiref.simple_server import WSGIServer

import optuna
import pytest

from exme.search.reports.dashboard import dashboard
from exme.search.reports.dashboard.dashboard import open_server, serve
from exme.tasks.errors import UserError
from tests.helpers.services.http import get, serving


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A storage with one study of one trial."""
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    study = optuna.create_study(storage=storage, study_name="mini-gsm8k", direction="maximize")
    study.optimize(lambda trial: trial.suggest_float("sums", 0, 1.6), n_trials=1)
    return storage


def test_the_page_is_served_and_its_api_lists_the_study(url: str) -> None:
    with serving(open_server(url, port=0)) as address:
        assert "optuna" in get(f"{address}/dashboard").lower()
        listed = json.loads(get(f"{address}/api/studies"))
        found = [study["study_name"] for study in listed["study_summaries"]]
        assert found == ["mini-gsm8k"]
        study_id = listed["study_summaries"][0]["study_id"]
        detail = json.loads(get(f"{address}/api/studies/{study_id}?after=0"))
        assert [trial["state"] for trial in detail["trials"]] == ["Complete"]


def test_it_listens_on_this_machine_alone_by_default(url: str) -> None:
    with open_server(url, port=0) as server:
        assert server.server_address[0] == "127.0.0.1"


def test_the_next_free_port_is_taken(url: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with serving(open_server(url, port=port)) as address:
            assert int(address.rpartition(":")[2]) > port
            get(f"{address}/api/studies")


def test_no_free_port_is_one_clear_line(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dashboard, "PORTS_TRIED", 1)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"ports {port} to {port} are all taken"):
            open_server(url, port=port)


def test_an_address_that_is_not_this_machines_is_refused(url: str) -> None:
    with pytest.raises(UserError, match=r"cannot listen on 192\.0\.2\.1, port 8080"):
        open_server(url, host="192.0.2.1")


def test_a_storage_that_is_not_there_is_refused_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"study\.db: no study there yet; run `exme search`"):
        open_server(f"sqlite:///{tmp_path / 'study.db'}")
    assert list(tmp_path.iterdir()) == []


def test_a_storage_that_cannot_be_opened_is_refused_without_its_password(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_text("not a database" * 100)
    with pytest.raises(UserError, match="cannot be opened"):
        open_server(f"sqlite:///{tmp_path / 'study.db'}")
    with pytest.raises(UserError) as caught:
        open_server("nonsense://me:secret@host/db")
    assert str(caught.value).startswith("storage nonsense://me:***@host/db cannot be opened")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("screen", [True, False])
def test_a_browser_is_opened_where_there_is_a_screen(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], screen: bool
) -> None:
    opened: list[str] = []

    def interrupt(self: WSGIServer) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(dashboard._Server, "serve_forever", interrupt)
    monkeypatch.setattr(dashboard, "_has_screen", lambda: screen)
    monkeypatch.setattr("webbrowser.open", opened.append)
    serve(url, port=0, open_browser=True)
    said = capsys.readouterr()
    assert len(opened) == screen
    assert all(address in said.out for address in opened)
    assert said.out.endswith("Dashboard closed.\n")
    assert said.err == ""


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.2"])
def test_a_host_that_others_may_reach_is_warned_about(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], host: str
) -> None:
    def interrupt(self: WSGIServer) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(dashboard._Server, "serve_forever", interrupt)
    serve(url, host=host, port=0)
    warned = "there is no login" in capsys.readouterr().err
    assert warned == (host == "0.0.0.0")


def test_ctrl_c_ends_it_cleanly(url: str) -> None:
    code = f"from exme.search.reports.dashboard.dashboard import serve\nserve({url!r}, port=0)"
    environment = os.environ | {"PYTHONPATH": ":".join(path for path in sys.path if path)}
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("Dashboard: http://127.0.0.1:")
        get(line.split()[1] + "api/studies")
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert out == "\nDashboard closed.\n"
    assert err == ""
