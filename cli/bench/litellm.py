"""Owns the optional comparison: LiteLLM's proxy, installed from the package index into an environment of its own."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from collections.abc import Callable, Mapping

from catalog.contract import Env
from catalog.models import DEFAULT_MODEL
from cli.bench.subjects import Starter, Subject, request
from cli.errors import CommandError
from cli.local.part import free_ports, http_status
from cli.local.tasks import ROOT

_ENVIRONMENT = ROOT / ".venv-litellm"
_PACKAGE = "litellm[proxy]"
_KEY = "sk-bench"


def subject(start: Starter, environment: Mapping[str, str], say: Callable[[str], object]) -> Subject:
    """LiteLLM's proxy in front of the same model. Raises CommandError where it cannot be installed."""
    _install(say)
    say("Starting LiteLLM …")
    (port,) = free_ports(1)
    model = {
        "model": f"anthropic/{DEFAULT_MODEL}",
        "api_base": environment[Env.ANTHROPIC_BASE_URL],
        "api_key": environment[Env.ANTHROPIC_API_KEY],
    }
    config = start.folder / "litellm.yaml"
    listed = [{"model_name": "bench", "litellm_params": model}]
    config.write_text(json.dumps({"model_list": listed, "general_settings": {"master_key": _KEY}}))
    command = [
        str(_ENVIRONMENT / "bin" / "litellm"),
        "--config",
        str(config),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    variables = {**environment, "LITELLM_LOG": "ERROR", "LITELLM_MODE": "PRODUCTION", "HOME": str(start.folder)}
    pid = start("litellm", command, variables, functools.partial(_is_up, port))
    turns = [
        {"role": "system", "content": "You write business plans."},
        {"role": "user", "content": "Plan a bakery with two employees"},
    ]
    body = json.dumps({"model": "bench", "max_tokens": 4096, "messages": turns})
    return Subject(
        "LiteLLM proxy", port, [request("/v1/chat/completions", {"Authorization": f"Bearer {_KEY}"}, body)], [pid]
    )


def _install(say: Callable[[str], object]) -> None:
    if (_ENVIRONMENT / "bin" / "litellm").exists():
        return
    say(f"Installing {_PACKAGE} into {_ENVIRONMENT.name} (some minutes) …")
    pip = [str(_ENVIRONMENT / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for step in ([sys.executable, "-m", "venv", str(_ENVIRONMENT)], [*pip, _PACKAGE]):
        done = subprocess.run(step, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise CommandError(f"{_PACKAGE} could not be installed: {done.stderr.strip()[-500:]}")


def _is_up(port: int) -> bool:
    return http_status(port, "/health/liveliness") == 200
