"""Starting, stopping and finding out: what `fleet up`, `down`, `status` and `logs` do to a state folder."""

from __future__ import annotations

import concurrent.futures
import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import httpx2 as httpx
import psutil
import pytest

from cli.local.part import free_ports
from cli.local.postgres import places
from cli.local.state import open_state
from tests.e2e.platform import AGENT, ROOT, Platform, clean, fleet, has_ended, started, wait

EXECUTE = f"/agents/{AGENT}/api/v1/execute"


@pytest.fixture
def slow_model(tmp_path: Path):  # type: ignore[no-untyped-def]
    """A Messages API that takes 5 seconds, longer than eight requests take to arrive; its URL."""
    (port,) = free_ports(1)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.messages_api", "--port", str(port), "--delay", "5"],
        cwd=ROOT,
        env=clean({}),
        stdout=subprocess.DEVNULL,
    )
    try:
        wait("the model", lambda: _answers(f"http://127.0.0.1:{port}/seen"))
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=30).status_code == 200
    except httpx.TransportError:
        return False


def test_sigterm_lets_requests_in_progress_end(state_folder: Path, slow_model: str) -> None:
    with (
        started(state_folder, {"ANTHROPIC_API_KEY": "test", "ANTHROPIC_BASE_URL": slow_model}) as platform,
        platform.client() as client,
        concurrent.futures.ThreadPoolExecutor(8) as pool,
    ):
        pids = [part["pid"] for part in platform.status["parts"]]
        calls = [pool.submit(client.post, EXECUTE, json={"task_description": "x"}) for _ in range(8)]
        wait("the requests at the model", lambda: httpx.get(f"{slow_model}/seen", timeout=30).json()["running"] >= 8)
        platform.process.send_signal(signal.SIGTERM)
        answers = [call.result() for call in calls]
        assert [answer.status_code for answer in answers] == [200] * 8
        assert platform.process.wait(120) == 0
        assert all(has_ended(pid) for pid in pids)
    # Completed before the stores went: the next start finds them finished.
    with started(state_folder) as again:
        asked = {answer.headers["x-request-id"] for answer in answers}
        # Control may have left the last to its successor, which takes what was taken and not applied after 30 seconds.
        wait("completion in the audit", lambda: asked <= {e["request_id"] for e in again.audit() if e["status"] == 200})
        assert "password:" not in again.said


def _execute(platform: Platform) -> httpx.Response:
    with platform.client() as client:
        return client.post(EXECUTE, json={"task_description": "x"})


def test_a_second_up_says_what_runs_and_down_stops_it(platform: Platform, state_folder: Path) -> None:
    second = fleet(platform.folder, "up")
    assert second.returncode == 0
    assert "already runs" in second.stdout
    assert f"http://localhost:{platform.port}" in second.stdout
    nothing = fleet(state_folder, "down")
    assert (nothing.returncode, nothing.stdout) == (0, "The platform does not run.\n")
    assert fleet(state_folder, "status").returncode == 3


def test_status_and_logs_know_every_part(platform: Platform) -> None:
    names = [part["name"] for part in platform.status["parts"]]
    assert set(names) == {
        "postgres",
        "valkey-state",
        "valkey-cache",
        "control",
        "pool-business",
        "pool-technology",
        "pool-knowledge",
        "nginx",
    }
    shown = fleet(platform.folder, "status")
    assert shown.returncode == 0
    assert all(name in shown.stdout for name in names)
    request_id = _execute(platform).headers["x-request-id"]
    wait("the log line", lambda: request_id in fleet(platform.folder, "logs", "nginx", "-n", "50").stdout)
    unknown = fleet(platform.folder, "logs", "nobody")
    assert unknown.returncode == 5
    assert "there are" in unknown.stderr


def test_secrets_are_for_their_owner_alone_and_in_no_command_line_or_log(platform: Platform) -> None:
    for path in (platform.folder, *platform.folder.rglob("*")):
        if (
            path.is_file()
            and path.parent.name in ("secrets", "tls", "logs", "valkey-state", "valkey-cache")
            and path.suffix != ".aof"
        ):
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    assert stat.S_IMODE(platform.folder.stat().st_mode) == 0o700
    secrets = [path.read_text() for path in (platform.folder / "secrets").glob("*-password")] + [
        platform.api_key,
        platform.password,
    ]
    commands = [" ".join(psutil.Process(part["pid"]).cmdline()) for part in platform.status["parts"]]
    texts = [*commands, *(path.read_text(errors="replace") for path in (platform.folder / "logs").glob("*.log"))]
    assert not [secret for secret in secrets if any(secret in text for text in texts)]


def test_everything_listens_on_loopback_alone(platform: Platform) -> None:
    for part in platform.status["parts"]:
        process = psutil.Process(part["pid"])
        listening = [ip for each in (process, *process.children(recursive=True)) for ip in _listening(each)]
        assert listening
        assert set(listening) == {"127.0.0.1"}


def _listening(process: psutil.Process) -> list[str]:
    """Addresses it listens on; a child that has ended meanwhile, as PostgreSQL's come and go, listens on none."""
    try:
        return [c.laddr.ip for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    except psutil.NoSuchProcess:
        return []


def test_after_a_killed_supervisor_the_next_start_stops_what_it_left(state_folder: Path) -> None:
    with started(state_folder) as first:
        pids = [part["pid"] for part in first.status["parts"]]
        os.kill(first.process.pid, signal.SIGKILL)
        first.process.wait()
    assert not any(has_ended(pid) for pid in pids)
    with started(state_folder) as second:
        assert "still runs from a start whose supervisor was killed" in second.said
        assert all(has_ended(pid) for pid in pids)
        assert _execute(second).status_code == 200
        stopped = fleet(state_folder, "down")
        assert (stopped.returncode, second.process.wait(60)) == (0, 0)


def test_a_lost_database_begins_anew_with_a_new_administrator(state_folder: Path) -> None:
    with started(state_folder) as first:
        old_key = first.api_key
        assert fleet(state_folder, "down").returncode == 0
    state = open_state(state_folder)
    assert state is not None
    shutil.rmtree(places(state_folder, state.identity).data)
    with started(state_folder) as second:
        assert second.password
        assert second.api_key != old_key
        assert _execute(second).status_code == 200


def test_a_taken_port_is_said_before_anything_starts(platform: Platform, state_folder: Path) -> None:
    (free,) = free_ports(1)
    refused = fleet(state_folder, "up", "--port", str(platform.port), "--tls-port", str(free))
    assert refused.returncode == 1
    assert f"port {platform.port} on 127.0.0.1 is taken" in refused.stderr
    assert not list(state_folder.rglob("PG_VERSION"))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: folder.chmod(0o755), "chmod 700"),
        (lambda folder: (folder / "fleet.json").write_text("{"), "not readable as the platform's"),
        (lambda folder: (folder / "fleet.json").unlink(), "holds files but no fleet.json"),
        (lambda folder: (folder / "secrets" / "postgres-password").write_text(""), "is empty"),
        (lambda folder: (folder / "secrets" / "postgres-password").chmod(0o644), "chmod 600"),
    ],
    ids=["readable by others", "broken record", "foreign", "empty secret", "readable secret"],
)
def test_a_spoiled_state_folder_is_said_and_nothing_starts(state_folder: Path, spoil, said: str) -> None:  # type: ignore[no-untyped-def]
    state = open_state(state_folder)
    assert state is not None
    state.password("postgres-password")
    (state_folder / "notes").write_text("x")
    (state_folder / "notes").chmod(0o600)
    spoil(state_folder)
    port, tls_port = free_ports(2)
    refused = fleet(state_folder, "up", "--port", str(port), "--tls-port", str(tls_port))
    assert refused.returncode == 1
    assert said in refused.stderr
    assert "Traceback" not in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
