"""Stands in for Pulumi's CLI where it cannot be had: the commands, files, events and words the Automation API meets.

Started as a process of its own named `pulumi`. It is true in what crosses the process boundary: arguments, exit codes,
messages, `--event-log` as a gRPC stream of engine events (apitype/events.go), a lock file per update and pending
operations in the state, SIGINT once (operations under way end) and twice (they do not). It is not the engine: instead
of a program it reads a description, or records what the folder's own program registers; instead of clouds it writes a
file. In the folder of PULUMI_BACKEND_URL:

program/<stack>.json   {"resources": [{type, name, inputs, protect, replace_on, seconds, fail}], "outputs", "reads"},
                       or {"record": true, "fail": {name: why}} for what the program in the working folder says now
cloud/<stack>.json     id → inputs: what "really" exists; a test changes it to make drift
state/<stack>.json     the deployment, as `pulumi stack export` prints it
locks/, history/       as they say; calls.jsonl: every command that was run
"""

from __future__ import annotations

import getpass
import json
import os
import queue
import signal
import socket
import sys
import threading
import time
import uuid
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

VERSION = os.environ.get("STAND_IN_VERSION", "3.272.0")
BACKEND = Path(unquote(urlparse(os.environ.get("PULUMI_BACKEND_URL", "file:///nonexistent")).path))
PROJECT = "ai-agents-platform"
ROOT_TYPE = "pulumi:pulumi:Stack"
STOPS = {"signals": 0}
VALUED = (
    "--stack",
    "--event-log",
    "--color",
    "--policy-pack",
    "--exec-kind",
    "--page-size",
    "--page",
    "--import-pending-creates",
)


class CliError(Exception):
    """Ends the command with words on standard error and a code."""

    def __init__(self, words: str, code: int = 1) -> None:
        super().__init__(words)
        self.code = code


def load(kind: str, stack: str, default: Any) -> Any:
    path = BACKEND / kind / f"{stack}.json"
    return json.loads(path.read_text()) if path.exists() else default


def save(kind: str, stack: str, value: Any) -> None:
    path = BACKEND / kind / f"{stack}.json"
    path.parent.mkdir(exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps(value, indent=1))
    partial.replace(path)


def recorded(stack: str, fail: dict[str, str]) -> list[dict[str, Any]]:
    """What the repository's program registers, with its components and parents; ``fail``: name → why it fails."""
    from infra.plan import recording

    return [
        {
            "urn": item.urn,
            "type": item.type,
            "name": item.name,
            "inputs": dict(item.inputs),
            "parent": item.parent,
            "component": item.is_component,
            "fail": fail.get(item.name, ""),
            # As the provider does with what is immutable.
            "replace_on": ["data", "metadata"] if item.get("immutable") else [],
        }
        for item in recording.record(stack, root=Path.cwd()).resources
        if item.type != ROOT_TYPE and not item.read
    ]


def urn(stack: str, resource: dict[str, Any]) -> str:
    if "urn" in resource:
        return str(resource["urn"])
    return f"urn:pulumi:{stack}::{PROJECT}::{resource['type']}::{resource['name']}"


class Events:
    """The stream of engine events to the address of `--event-log`."""

    def __init__(self, address: str | None) -> None:
        self._queue: queue.Queue[bytes | None] = queue.Queue()
        self._sequence = 0
        self._thread = None
        self._file = Path(address) if address and not address.startswith("tcp://") else None
        if address and self._file is None:
            self._thread = threading.Thread(target=self._send, args=(address.removeprefix("tcp://"),), daemon=True)
            self._thread.start()

    def _send(self, address: str) -> None:
        import grpc

        def requests():
            while (event := self._queue.get()) is not None:
                # EventRequest {string event = 1}, in protobuf's wire format.
                size, length = bytearray(), len(event)
                while length > 0x7F:
                    size.append(length & 0x7F | 0x80)
                    length >>= 7
                yield b"\x0a" + bytes(size) + bytes([length]) + event

        with grpc.insecure_channel(address) as channel:
            call = channel.stream_unary("/pulumirpc.Events/StreamEvents", lambda raw: raw, lambda raw: raw)
            call(requests())

    def emit(self, kind: str, data: dict[str, Any]) -> None:
        self._sequence += 1
        event = {"sequence": self._sequence, "timestamp": int(time.time()), kind: data}
        if self._file:
            with self._file.open("a") as file:
                file.write(json.dumps(event) + "\n")
        else:
            self._queue.put(json.dumps(event).encode())

    def error(self, words: str, about: str = "") -> None:
        message = {
            "prefix": "<{%fg 1%}>error: <{%reset%}>",
            "message": f"<{{%reset%}}>{words}<{{%reset%}}>\n",
            "color": "raw",
        }
        self.emit("diagnosticEvent", {**message, "severity": "error", **({"urn": about} if about else {})})

    def close(self) -> None:
        self.emit("cancelEvent", {})
        self._queue.put(None)
        if self._thread:
            self._thread.join(10)


class Update:
    """One preview, up, refresh or destroy of one stack."""

    def __init__(self, stack: str, options: dict[str, Any], *, dry: bool) -> None:
        self.stack = stack
        self.options = options
        self.dry = dry
        self.state = load("state", stack, None)
        self.deployment = self.state["deployment"]
        self.program = load("program", stack, {"resources": []})
        if self.program.get("record"):
            self.program["resources"] = recorded(stack, self.program.get("fail", {}))
        self.cloud: dict[str, Any] = load("cloud", stack, {})
        self.events = Events(options.get("--event-log"))
        self.counts: Counter[str] = Counter()
        self.failed = False

    @property
    def resources(self) -> list[dict[str, Any]]:
        return self.deployment["resources"]

    def write(self) -> None:
        if not self.dry:
            save("state", self.stack, self.state)
            save("cloud", self.stack, self.cloud)

    def metadata(self, op: str, about: str, old: Any, new: Any, diff: dict[str, str] | None = None) -> dict[str, Any]:
        def shown(one: Any) -> Any:
            if one is None:
                return None
            keys = ("type", "urn", "id", "parent", "protect", "custom", "inputs", "outputs")
            return {"parent": "", "provider": "", "id": "", **{key: one[key] for key in keys if key in one}}

        detailed = {path: {"diffKind": kind, "inputDiff": True} for path, kind in (diff or {}).items()} or None
        kind = about.split("::")[2].rpartition("$")[2]
        data = {
            "op": op,
            "urn": about,
            "type": kind,
            "old": shown(old),
            "new": shown(new),
            "provider": "",
            "logical": True,
        }
        return {
            "metadata": {**data, "diffs": sorted(diff or {}), "detailedDiff": detailed},
            **({"planning": True} if self.dry else {}),
        }

    def step(self, op: str, old: Any, new: Any, *, seconds: float = 0.0, fail: str = "", diff: Any = None) -> bool:
        """One operation; false where it failed, or the update ends with it."""
        if STOPS["signals"]:
            return False
        about = (new or old)["urn"]
        self.events.emit("resourcePreEvent", self.metadata(op, about, old, new, diff))
        if op in ("delete", "replace") and old.get("protect") and (op == "delete" or new.get("protect")):
            prefix = "Preview failed: " if self.dry else ""
            words = {
                "delete": f'resource "{about}" cannot be deleted\nbecause it is protected. To unprotect the resource, either remove',
                "replace": f'unable to replace resource "{about}"\nas it is currently marked for protection. To unprotect the resource, remove',
            }[op]
            hint = (
                "the `protect` flag from the resource in your Pulumi program and run `pulumi up`, or use the command:"
            )
            self.events.error(f"{prefix}{words} {hint}\n`pulumi state unprotect '{about}'`", about)
            self.failed = True
            return self.dry
        if not self.dry and op != "same" and not self._carried_out(op, old, new, seconds, fail):
            return False
        self.events.emit("resOutputsEvent", self.metadata(op, about, old, new, diff))
        self.counts[op] += 1
        return True

    def _carried_out(self, op: str, old: Any, new: Any, seconds: float, fail: str) -> bool:
        about = (new or old)["urn"]
        kinds = {"create": "creating", "replace": "creating", "update": "updating", "delete": "deleting"}
        pending = {"resource": {key: (new or old)[key] for key in ("urn", "type", "custom")}, "type": kinds[op]}
        self.deployment.setdefault("pending_operations", []).append(pending)
        self.write()
        if new is not None and new["custom"] and not fail:
            new["id"] = new.get("id") if op == "update" and new.get("id") else f"i-{uuid.uuid4().hex[:8]}"
            self.cloud[new["id"]] = new["inputs"]
            save("cloud", self.stack, self.cloud)
        until = time.monotonic() + seconds
        while time.monotonic() < until and STOPS["signals"] < 2:
            time.sleep(0.01)
        if STOPS["signals"] >= 2:
            return False
        self.deployment["pending_operations"].remove(pending)
        if fail:
            self.events.error(fail, about)
            self.events.emit("resOpFailedEvent", {**self.metadata(op, about, old, new), "status": 1, "steps": 0})
            self.failed = True
            self.write()
            return False
        if old is not None:
            self.resources.remove(next(one for one in self.resources if one["urn"] == about))
            if op != "update":
                self.cloud.pop(old["id"], None)
        if new is not None:
            self.resources.append(new)
        self.write()
        return True

    def finish(self, kind: str) -> None:
        verb = "preview" if self.dry else kind
        cancelled = STOPS["signals"] > 0
        if cancelled:
            self.events.error(f"{verb} canceled")
        elif self.failed:
            self.events.error(f"{verb} failed")
        result = "failed" if self.failed or cancelled else "succeeded"
        changes = {"resourceChanges": dict(self.counts), "PolicyPacks": {}, "isPreview": self.dry, "result": result}
        self.events.emit("summaryEvent", {"maybeCorrupt": False, "durationSeconds": 1, **changes})
        self.events.close()
        if not self.dry:
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
            entry = {"kind": kind, "startTime": now, "endTime": now, "message": "", "environment": {}, "config": {}}
            save(
                "history", self.stack, [{**entry, "result": result, "version": 1, "resourceChanges": dict(self.counts)}]
            )
        if cancelled:
            raise CliError(f"error: {verb} canceled", 8)
        if self.failed:
            raise CliError("", 1)

    def up(self) -> None:
        if not self.dry:
            # As the engine: interrupted creates stay on record, what else was pending is dropped.
            pending = self.deployment.get("pending_operations") or []
            self.deployment["pending_operations"] = [one for one in pending if one["type"] == "creating"]
        for reference in self.program.get("reads", []):
            other, output = reference.split(":")
            handed = load("state", other, {"deployment": {"resources": []}})["deployment"]["resources"]
            if not any(output in (one.get("outputs") or {}) for one in handed):
                self.events.error(f"Program failed: required output '{output}' of stack {other} does not exist")
                self.failed = True
                return
        if not self._root():
            return
        olds = {one["urn"]: one for one in self.resources}
        wanted = []
        for each in self.program["resources"]:
            about = urn(self.stack, each)
            wanted.append(about)
            old, timing = olds.get(about), {"seconds": each.get("seconds", 0.0), "fail": each.get("fail", "")}
            new = {
                "urn": about,
                "type": each["type"],
                "custom": not each.get("component"),
                "id": "",
                "inputs": each.get("inputs", {}),
                "outputs": {},
            }
            new |= {"parent": each["parent"]} if each.get("parent") else {}
            new |= {"protect": True} if each.get("protect") else {}
            if old is None:
                done = self.step("create", None, new, **timing)
            else:
                diff = difference(old["inputs"], new["inputs"])
                new["id"] = old["id"]
                if set(diff) & set(each.get("replace_on", [])):
                    done = self.step("replace", old, new, diff=diff, **timing)
                elif diff:
                    done = self.step("update", old, new, diff=diff, **timing)
                else:
                    old["protect"] = bool(each.get("protect"))
                    done = self.step("same", old, new)
            if not done:
                return
        for old in reversed(list(self.resources)):
            if old["type"] != ROOT_TYPE and old["urn"] not in wanted and not self.step("delete", old, None):
                return
        root = next((one for one in self.resources if one["type"] == ROOT_TYPE), None)
        if root is not None and not self.dry:
            root["outputs"] = self.program.get("outputs", {})
        self.write()

    def _root(self) -> bool:
        if any(one["type"] == ROOT_TYPE for one in self.resources):
            return True
        about = f"urn:pulumi:{self.stack}::{PROJECT}::{ROOT_TYPE}::{PROJECT}-{self.stack}"
        root = {"urn": about, "type": ROOT_TYPE, "custom": False, "inputs": {}, "outputs": {}}
        if not self.dry:
            self.resources.append(root)
            self.write()
        return self.step("same", root, root)

    def destroy(self) -> None:
        for old in reversed(list(self.resources)):
            if old["type"] != ROOT_TYPE and not self.step(
                "delete", old, None, seconds=old["inputs"].get("seconds", 0.0)
            ):
                return
        if not (self.failed or self.dry):
            self.resources.clear()
            self.write()

    def refresh(self) -> None:
        if not self.dry:
            adopted = dict(zip(*[iter(self.options.get("--import-pending-creates", []))] * 2, strict=True))
            pending, self.deployment["pending_operations"] = self.deployment.get("pending_operations") or [], []
            for one in pending:
                about = one["resource"]["urn"]
                if one["type"] == "creating" and about in adopted:
                    if adopted[about] not in self.cloud:
                        raise CliError(f"error: importing {about}: no resource with id {adopted[about]}")
                    made = {
                        **one["resource"],
                        "id": adopted[about],
                        "inputs": self.cloud[adopted[about]],
                        "outputs": {},
                    }
                    self.resources.append(made)
                elif one["type"] == "creating" and not self.options.get("--clear-pending-creates"):
                    self.deployment["pending_operations"].append(one)
        if self.program.get("refresh_fails"):
            self.events.error(self.program["refresh_fails"])
            self.failed = True
            return
        for old in [one for one in self.resources if one.get("custom")]:
            self.events.emit("resourcePreEvent", self.metadata("refresh", old["urn"], old, old))
            real = self.cloud.get(old["id"])
            diff = difference(old["inputs"], real or {})
            op = "delete" if real is None else "update" if diff else "same"
            new = None if real is None else {**old, "inputs": real}
            self.events.emit(
                "resOutputsEvent", self.metadata(op, old["urn"], old, new, diff if real is not None else None)
            )
            self.counts[op] += 1
            if not self.dry and op != "same":
                self.resources.remove(old)
                self.resources.extend([new] if new else [])
        self.write()


def difference(old: dict[str, Any], new: dict[str, Any]) -> dict[str, str]:
    kinds = {
        key: "add" if key not in old else "delete" if key not in new else "update" for key in old.keys() | new.keys()
    }
    return {key: kind for key, kind in sorted(kinds.items()) if old.get(key) != new.get(key)}


class Lock:
    """The file backend's lock: a file a holder; whoever finds another's says so and leaves."""

    def __init__(self, stack: str) -> None:
        self.folder = BACKEND / "locks" / stack
        self.mine = self.folder / f"{uuid.uuid4()}.json"

    def __enter__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        content = {"pid": os.getpid(), "username": getpass.getuser(), "hostname": socket.gethostname()}
        self.mine.write_text(json.dumps({**content, "timestamp": datetime.now(UTC).isoformat(timespec="seconds")}))
        others = [path for path in self.folder.iterdir() if path != self.mine]
        if others:
            self.mine.unlink()
            words = f"error: the stack is currently locked by {len(others)} lock(s). Either wait for the other process(es) to end or delete the lock file with `pulumi cancel`."
            for path in others:
                by = json.loads(path.read_text())
                words += f"\n  file://{path}: created by {by['username']}@{by['hostname']} (pid {by['pid']}) at {by['timestamp']}"
            raise CliError(words)

    def __exit__(self, *_: object) -> None:
        self.mine.unlink(missing_ok=True)


def parsed(arguments: list[str]) -> tuple[list[str], dict[str, Any]]:
    words: list[str] = []
    options: dict[str, Any] = {}
    rest = iter(arguments)
    for each in rest:
        if each == "--import-pending-creates":
            options.setdefault(each, []).append(next(rest))
        elif each in VALUED:
            options[each] = next(rest)
        elif each.startswith("-"):
            options[each] = True
        else:
            words.append(each)
    return words, options


def required(stack: str) -> None:
    if load("state", stack, None) is None:
        raise CliError(f"error: no stack named '{stack}' found", 6)


def stack_command(words: list[str], options: dict[str, Any]) -> None:
    stack = options.get("--stack", "")
    match words:
        case ["init"]:
            if load("state", stack, None) is not None:
                raise CliError(f"error: stack '{stack}' already exists")
            save("state", stack, {"version": 3, "deployment": {"manifest": {}, "resources": []}})
            with (Path("stacks") / f"Pulumi.{stack}.yaml").open("a") as file:
                file.write("encryptionsalt: v1:stand-in\n")
        case []:
            required(stack)
        case ["export"]:
            required(stack)
            print(json.dumps(load("state", stack, None)))
        case ["output"]:
            listed = load("state", stack, None)["deployment"]["resources"]
            print(json.dumps(next((one["outputs"] for one in listed if one["type"] == ROOT_TYPE), {})))
        case ["history"]:
            print(json.dumps(load("history", stack, [])))
        case _:
            raise CliError(f"error: the stand-in has no `pulumi stack {' '.join(words)}`", 2)


def state_command(words: list[str], options: dict[str, Any]) -> None:
    stack, protect = options["--stack"], words[0] == "protect"
    state = load("state", stack, None)
    for one in state["deployment"]["resources"]:
        if one["urn"] in words[1:]:
            one["protect"] = protect
    save("state", stack, state)


def update_command(kind: str, options: dict[str, Any]) -> None:
    stack = options["--stack"]
    required(stack)
    dry = kind == "preview" or "--preview-only" in options
    if not dry and "--yes" not in options:
        raise CliError(
            "error: --yes or --skip-preview or --preview-only must be passed in to proceed when running in non-interactive mode"
        )
    pack = options.get("--policy-pack")
    if pack and not Path(pack, "PulumiPolicy.yaml").exists():
        raise CliError(f"error: no policy pack in {pack}")
    update = Update(stack, options, dry=dry)
    update.events.emit("preludeEvent", {"config": {"ai-agents-platform:database": "[secret]"}})
    if dry:
        {"preview": update.up, "refresh": update.refresh, "destroy": update.destroy}[kind]()
        update.finish("update")
        return
    with Lock(stack):
        {"up": update.up, "refresh": update.refresh, "destroy": update.destroy}[kind]()
        update.finish({"up": "update"}.get(kind, kind))


def signalled(*_: object) -> None:
    STOPS["signals"] += 1


def main() -> int:
    words, options = parsed(sys.argv[1:])
    if words == ["version"]:
        print(f"v{VERSION}")
        return 0
    with (BACKEND / "calls.jsonl").open("a") as calls:
        calls.write(json.dumps({"words": words, "options": options, "pid": os.getpid()}) + "\n")
    signal.signal(signal.SIGINT, signalled)
    signal.signal(signal.SIGTERM, signalled)
    try:
        match words:
            case ["stack", *rest]:
                stack_command(rest, options)
            case ["state", *rest]:
                state_command(rest, options)
            case ["cancel"]:
                for path in (BACKEND / "locks" / options["--stack"]).glob("*"):
                    path.unlink()
            case ["preview" | "up" | "refresh" | "destroy" as kind]:
                update_command(kind, options)
            case _:
                raise CliError(f"error: unknown command {words}", 2)
    except CliError as failure:
        if str(failure):
            print(failure, file=sys.stderr)
        return failure.code
    return 0


if __name__ == "__main__":
    sys.exit(main())
