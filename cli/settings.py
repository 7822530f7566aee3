"""Owns `fleet settings`: what processes follow without a restart, read, changed and watched where they read it.

In Consul where CONSUL_HTTP_ADDR says so (with CONSUL_HTTP_TOKEN_FILE or CONSUL_HTTP_TOKEN, and CONSUL_CACERT), else in
the file of the platform on this machine. What may be set is the runtime's DynamicSettings; nothing else is written.
"""

from __future__ import annotations

import json
import os
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NoReturn, Protocol

import httpx2
import typer

from catalog.contract import CONSUL_SETTINGS, Env
from cli.errors import CommandError, Exit
from cli.local.state import default_folder, open_state, write_private
from cli.output import Json, print_json
from runtime.dynamic import DynamicSettings, parse

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Change what processes follow without a restart.")

POLL_SECONDS = 0.5
WAIT_SECONDS = 60
_MAPS = ("agent_log_levels", "rate_limits")
_SETS = ("disabled_agents", "quarantine_exempt")
_BY_AGENT = ("agent_log_levels", *_SETS)

Document = dict[str, Any]


class Place(Protocol):
    """Where the document is kept."""

    @property
    def name(self) -> str:
        """What to call it in a message."""
        ...

    def read(self) -> tuple[bytes, int]:
        """The document, empty where there is none, and its version."""
        ...

    def write(self, document: bytes, version: int) -> bool:
        """Replace it; false where somebody else did since ``version``."""
        ...

    def changes(self) -> Iterator[bytes]:
        """The document now and after every change."""
        ...


@app.command("get")
def get_settings(
    field: Annotated[str, typer.Argument(help="One setting, say log_level or rate_limits.alice; default: all.")] = "",
    as_json: Json = False,
) -> None:
    """Show the settings that are set, or one of them."""
    document = _document(place().read()[0])
    if field:
        name, _, key = field.partition(".")
        _known(name)
        found = document.get(name)
        if key:
            found = found.get(key) if isinstance(found, dict) else None
        print_json(found)
    elif as_json:
        print_json(document)
    else:
        _show(document)


@app.command("set")
def set_settings(
    changes: Annotated[
        list[str],
        typer.Argument(
            help="FIELD=VALUE, FIELD.KEY=VALUE for limits and levels by name, disabled_agents+=ID to add one.",
            metavar="FIELD=VALUE...",
        ),
    ],
) -> None:
    """Change settings; processes follow within a second. All changes are made, or none."""
    _change(_set, changes)


@app.command("unset")
def unset_settings(
    fields: Annotated[list[str], typer.Argument(help="FIELD, FIELD.KEY, or disabled_agents.ID.", metavar="FIELD...")],
) -> None:
    """Take settings back to their defaults."""
    _change(_unset, fields)


@app.command("watch")
def watch_settings(as_json: Json = False) -> None:
    """Show the settings now and after every change, until interrupted."""
    for document in place().changes():
        try:
            current = _document(document)
        except CommandError as error:
            print(f"fleet: {error}", file=sys.stderr)
            continue
        if as_json:
            print(json.dumps(current), flush=True)
        else:
            print(time.strftime("── %H:%M:%S"))
            _show(current)
            sys.stdout.flush()


def place() -> Place:
    """Where the processes of this environment read their settings."""
    address = os.environ.get(Env.CONSUL_HTTP_ADDR)
    if address:
        return _Consul(address)
    given = os.environ.get(Env.DYNAMIC_SETTINGS_FILE)
    return _File(Path(given) if given else default_folder() / "settings.json", own=not given)


def _change(make: Callable[[Document, str], None], changes: list[str]) -> None:
    where = place()
    for _ in range(5):
        text, version = where.read()
        document = _document(text)
        for change in changes:
            make(document, change)
        changed = {name: value for name, value in document.items() if value not in (None, {}, [])}
        body = json.dumps(changed, indent=1, sort_keys=True).encode() + b"\n"
        try:
            parse(body)
        except ValueError as error:
            raise CommandError(str(error), Exit.USAGE) from None
        if where.write(body, version):
            _show(changed)
            return
    raise CommandError(f"somebody else keeps changing the settings in {where.name}: try again")


def _set(document: Document, change: str) -> None:
    field, sign, value = change.partition("=")
    adds = field.endswith("+")
    name, _, key = field.removesuffix("+").partition(".")
    if not sign:
        raise CommandError(f"{change!r}: write FIELD=VALUE", Exit.USAGE)
    _known(name)
    if name in _SETS:
        members = _agents([member.strip() for member in value.split(",") if member.strip()])
        document[name] = sorted({*(document.get(name, ()) if adds else ()), *members})
    elif adds or bool(key) != (name in _MAPS):
        shape = f"{name}.KEY=VALUE" if name in _MAPS else f"{name}=VALUE"
        raise CommandError(f"{change!r}: write {shape}", Exit.USAGE)
    elif key:
        if name in _BY_AGENT:
            (key,) = _agents([key])
        document[name] = {**document.get(name, {}), key: int(value) if value.lstrip("-").isdigit() else value}
    else:
        document[name] = value


def _unset(document: Document, field: str) -> None:
    name, _, key = field.partition(".")
    _known(name)
    if not key:
        document.pop(name, None)
    elif name in _SETS:
        document[name] = [member for member in document.get(name, ()) if member != key]
    elif name in _MAPS:
        document[name] = {known: value for known, value in document.get(name, {}).items() if known != key}
    else:
        raise CommandError(f"{field!r}: {name} has no parts", Exit.USAGE)


def _known(name: str) -> None:
    if name not in DynamicSettings.model_fields:
        raise CommandError(
            f"there is no setting {name!r}; there are {', '.join(DynamicSettings.model_fields)}", Exit.NOT_FOUND
        )


def _agents(names: list[str]) -> list[str]:
    # A misspelt id would be taken without a word and change nothing.
    from cli.agents import required_agents

    return required_agents(names)


def _document(text: bytes) -> Document:
    try:
        parse(text)
    except ValueError as error:
        raise CommandError(f"the settings are malformed and not in force: {error}") from None
    found: Document = json.loads(text) if text.strip() else {}
    return found


def _show(document: Document) -> None:
    if not document:
        print("Nothing is set: defaults.")
    for name, value in sorted(document.items()):
        print(f"{name} = {json.dumps(value, sort_keys=True)}")


@dataclass
class _File:
    path: Path
    own: bool
    """In the state folder, which is made where there is none."""

    @property
    def name(self) -> str:
        return str(self.path)

    def read(self) -> tuple[bytes, int]:
        try:
            return self.path.read_bytes(), self.path.stat().st_mtime_ns
        except FileNotFoundError:
            return b"", 0
        except OSError as error:
            raise CommandError(f"{self.path}: {error.strerror}") from None

    def write(self, document: bytes, version: int) -> bool:
        if self.own:
            open_state(self.path.parent)
        if self.read()[1] != version:
            return False
        try:
            write_private(self.path, document)
        except OSError as error:
            raise CommandError(f"{self.path}: {error.strerror}") from None
        return True

    def changes(self) -> Iterator[bytes]:
        seen: tuple[bytes, int] | None = None
        while True:
            now = self.read()
            if now != seen:
                seen = now
                yield now[0]
            time.sleep(POLL_SECONDS)


class _Consul:
    def __init__(self, address: str) -> None:
        self.name = f"Consul at {address}"
        ca = os.environ.get(Env.CONSUL_CACERT)
        self._url = f"{address if '://' in address else f'http://{address}'}/v1/kv/{CONSUL_SETTINGS}"
        try:
            self._verify: ssl.SSLContext | bool = ssl.create_default_context(cafile=ca) if ca else True
        except OSError as error:
            raise CommandError(f"{Env.CONSUL_CACERT}: {ca}: {error.strerror or 'no certificate'}") from None
        file = os.environ.get(Env.CONSUL_HTTP_TOKEN_FILE)
        self._token = os.environ.get("CONSUL_HTTP_TOKEN", "")
        if file:
            try:
                self._token = Path(file).read_text("utf-8").strip()
            except OSError as error:
                raise CommandError(f"{Env.CONSUL_HTTP_TOKEN_FILE}: {file}: {error.strerror}") from None

    def read(self) -> tuple[bytes, int]:
        return self._read({})[:2]

    def write(self, document: bytes, version: int) -> bool:
        # Compare and set: 0 means that there must be none yet.
        answer = self._request("PUT", {"cas": str(version)}, document)
        return answer.text.strip() == "true"

    def changes(self) -> Iterator[bytes]:
        index, seen = 0, None
        while True:
            text, version, newest = self._read({"index": str(index), "wait": f"{WAIT_SECONDS}s"})
            if (text, version) != seen:
                seen = (text, version)
                yield text
            index = newest if newest >= index else 0

    def _read(self, params: dict[str, str]) -> tuple[bytes, int, int]:
        from base64 import b64decode

        answer = self._request("GET", params)
        newest = int(answer.headers.get("X-Consul-Index", "0") or 0)
        if answer.status_code == 404:
            return b"", 0, newest
        (entry,) = answer.json()
        return b64decode(entry["Value"] or ""), int(entry["ModifyIndex"]), newest

    def _request(self, method: str, params: dict[str, str], content: bytes | None = None) -> httpx2.Response:
        headers = {"X-Consul-Token": self._token} if self._token else {}
        try:
            answer = httpx2.request(
                method,
                self._url,
                params=params,
                headers=headers,
                content=content,
                verify=self._verify,
                # Consul adds up to a sixteenth of the wait.
                timeout=WAIT_SECONDS * 17 / 16 + 5,
                trust_env=False,
            )
        except httpx2.HTTPError as error:
            raise CommandError(f"{self.name} does not answer ({type(error).__name__})", Exit.UNREACHABLE) from None
        if answer.status_code == 403:
            _refused(self.name)
        if answer.status_code >= 400 and answer.status_code != 404:
            raise CommandError(f"{self.name} answers with status {answer.status_code}")
        return answer


def _refused(name: str) -> NoReturn:
    raise CommandError(
        f"{name} refuses the token: {Env.CONSUL_HTTP_TOKEN_FILE} must name a file with an operator's "
        "(kubectl -n consul get secret consul-tokens -o jsonpath='{.data.operator}' | base64 -d)",
        Exit.REFUSED,
    )
