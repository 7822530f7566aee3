"""Owns driving Pulumi's CLI through the Automation API, whose only importer this is: one command, its events as data.

It decides nothing: what may be done is guards', when is run's. The program is the repository's own (Pulumi.yaml), not
an inline one. No configuration and no standard output of the CLI leaves this module; messages come from events, in
which the engine has masked what it knows to be secret.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pulumi.automation as auto
from pulumi.automation.errors import create_command_error
from semver import VersionInfo

from cli.deploy import installed, lock
from cli.deploy.changes import Event, Holding, Message, Outcome, Phase, Property, Step, Totals, gathered, holding, plain
from cli.errors import CommandError

Kind = Literal["up", "destroy", "refresh"]
Tell = Callable[[Event], None]
POLICIES = "infra/policies/pack"
_UNCOUNTED = ("same", "read", "refresh", "discard")
_LONG = ("preview", "up", "refresh", "destroy")


class CliError(Exception):
    """A command of the CLI failed; its cause is the Automation API's error for it."""

    def __init__(self, result: auto.CommandResult) -> None:
        super().__init__(plain(result.stderr) or f"pulumi ended with code {result.code} and said nothing")
        self.code = result.code


class Cli(auto.PulumiCommand):
    """Pulumi's CLI, every command in a session of its own.

    A Ctrl-C of the terminal therefore reaches the CLI through ``interrupt`` alone, once, and not also through the
    process group: twice would make the engine give up at once.
    """

    def __init__(self) -> None:
        super().__init__(version=VersionInfo.parse(installed.MINIMUM))
        self.interrupts = 0
        self.locks: Mapping[str, int] = {}
        """Stack → descriptor of its lock, which its commands inherit."""
        self._running: set[subprocess.Popen[str]] = set()
        self._guard = threading.Lock()

    def run(
        self,
        args: list[str],
        cwd: str,
        additional_env: Mapping[str, str],
        on_output: Callable[[str], Any] | None = None,
        on_error: Callable[[str], Any] | None = None,
    ) -> auto.CommandResult:
        """Run one command to its end; its output line by line to the callbacks once it has ended. Raises CliError."""
        stack = args[args.index("--stack") + 1] if "--stack" in args else ""
        with self._guard:
            if self.interrupts and args[0] in _LONG:
                raise CliError(auto.CommandResult("", "not begun: interrupted", 130))
            process = subprocess.Popen(
                [self.command, "--non-interactive", *args],
                cwd=cwd, env={**os.environ, **additional_env, "PULUMI_AUTOMATION_API": "true", "PULUMI_SKIP_UPDATE_CHECK": "true"},
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", errors="replace",
                start_new_session=True, pass_fds=[self.locks[stack]] if stack in self.locks else [],
            )  # fmt: skip
            self._running.add(process)
        try:
            output, errors = process.communicate()
        finally:
            with self._guard:
                self._running.discard(process)
        for text, callback in ((output, on_output), (errors, on_error)):
            for line in text.splitlines() if callback else ():
                callback(line)  # type: ignore[misc]  # the condition above holds within the loop
        result = auto.CommandResult(output, errors, process.returncode)
        if process.returncode:
            raise CliError(result) from create_command_error(result)
        return result

    def interrupt(self) -> None:
        """Ask what runs to stop: first after the operations under way, then without waiting; a third time kills it."""
        with self._guard:
            self.interrupts += 1
            for process in self._running:
                if self.interrupts <= 2:
                    process.send_signal(signal.SIGINT)
                else:
                    os.killpg(process.pid, signal.SIGKILL)


class _Workspace(auto.LocalWorkspace):
    """The repository as it is. Which stack is selected on this machine is the user's choice and stays it."""

    def select_stack(self, stack_name: str) -> None:
        self._run_pulumi_cmd_sync(["stack", "--stack", stack_name])

    def create_stack(self, stack_name: str) -> None:
        self._run_pulumi_cmd_sync(["stack", "init", "--stack", stack_name, "--no-select"])


class Engine:
    """The engine on a repository's stacks. Methods may be called from several threads, for one stack by one at a time."""

    def __init__(self, root: Path) -> None:
        installed.require_cli()
        try:
            self.cli = Cli()
        except auto.InvalidVersionError as error:
            raise installed.too_old(str(error)) from None
        except (OSError, subprocess.CalledProcessError) as error:
            raise CommandError(
                f"`pulumi version` does not work ({error}): install its CLI anew ({installed.PAGE})"
            ) from None
        self._workspace = _Workspace(work_dir=str(root), pulumi_command=self.cli)

    def holding(self, stack: str) -> Holding | None:
        """What the stack's state holds; None where the backend has no such stack. Secrets stay encrypted.

        Raises CommandError in the CLI's words: no backend, no rights, no passphrase.
        """
        try:
            self._workspace.select_stack(stack)
            exported = self._run(["stack", "export", "--stack", stack])
        except CliError as error:
            if isinstance(error.__cause__, auto.StackNotFoundError):
                return None
            raise CommandError(f"{stack}: {self._words(stack, error)}") from None
        return holding(json.loads(exported.stdout).get("deployment") or {})

    def create(self, stack: str) -> None:
        """Make the stack in the backend. Writes its encryption salt into stacks/Pulumi.<stack>.yaml."""
        try:
            self._workspace.create_stack(stack)
        except CliError as error:
            raise CommandError(f"{stack}: {self._words(stack, error)}") from None

    def preview(self, stack: str, kind: Kind, tell: Tell = lambda _: None) -> Outcome:
        """What bringing up, taking down or refreshing would do. Changes nothing."""
        if kind == "up":
            return self._events(stack, tell, lambda to: to.preview, policy_packs=[POLICIES])
        if kind == "destroy":
            return self._events(stack, tell, lambda to: to.preview_destroy)
        return self._events(stack, tell, lambda to: to.preview_refresh)

    def apply(self, stack: str, kind: Kind, tell: Tell) -> Outcome:
        """Bring up, take down or refresh; every event to ``tell`` as it comes, from a thread of the engine's."""
        if kind == "up":
            return self._events(stack, tell, lambda to: to.up, policy_packs=[POLICIES], show_secrets=False)
        if kind == "destroy":
            return self._events(stack, tell, lambda to: to.destroy, show_secrets=False)
        return self._events(stack, tell, lambda to: to.refresh, show_secrets=False)

    def settle(self, stack: str, adopt: Mapping[str, str], *, forget: bool) -> Outcome:
        """Read from the cloud how interrupted operations ended; creates are adopted by id, the others forgotten or kept.

        The Automation API has no way to adopt, so this is the CLI's own refresh.
        """
        pairs = [text for urn, identity in adopt.items() for text in (urn, identity)]
        adopting = [word for text in pairs for word in ("--import-pending-creates", text)]
        clearing = ["--clear-pending-creates"] if forget else []
        options = ["--yes", "--skip-preview", "--color", "never", "--suppress-outputs", "--stack", stack]
        seen: list[Event | None] = []
        problem = ""
        with tempfile.TemporaryDirectory(prefix="fleet-events-") as folder:
            log = Path(folder, "events")
            log.touch()
            command = ["refresh", *adopting, *clearing, "--event-log", str(log), *options]
            try:
                # The option is there for whoever asks for the commands of debugging.
                self.cli.run(command, self._workspace.work_dir, {"PULUMI_DEBUG_COMMANDS": "true"})
            except CliError as error:
                problem = self._words(stack, error)
            # Not splitlines: a resource's words may hold what it would also end a line at.
            lines = log.read_text("utf-8").split("\n")
            seen = [_event(auto.EngineEvent.from_json(json.loads(line))) for line in lines if line]
        return self._outcome([event for event in seen if event is not None], problem)

    def protect(self, stack: str, urns: Sequence[str], *, lift: bool) -> None:
        """Lift the protection of resources in the state, or put it back. Raises CommandError."""
        if not urns:
            return
        try:
            self._run(["state", "unprotect" if lift else "protect", *urns, "--yes", "--stack", stack])
        except CliError as error:
            raise CommandError(f"{stack}: {self._words(stack, error)}") from None

    def _run(self, arguments: list[str]) -> auto.CommandResult:
        return self.cli.run(arguments, self._workspace.work_dir, {})

    def _events(
        self, stack: str, tell: Tell, method: Callable[[auto.Stack], Callable[..., Any]], **options: Any
    ) -> Outcome:
        seen: list[Event] = []

        def on_event(raw: auto.EngineEvent) -> None:
            event = _event(raw)
            if event is not None:
                seen.append(event)
                tell(event)

        problem = ""
        try:
            target = auto.Stack.select(stack, self._workspace)
            method(target)(on_event=on_event, color="never", suppress_outputs=True, suppress_progress=True, **options)
        except CliError as error:
            problem = self._words(stack, error)
        except RuntimeError as error:  # A preview without a summary, which the Automation API takes for a failure.
            problem = str(error)
        return self._outcome(seen, problem)

    def _outcome(self, seen: Sequence[Event], problem: str) -> Outcome:
        changes = gathered(seen)
        if problem and changes.faults:
            problem = ""  # The events said it better.
        elif not problem:
            changes = replace(changes, faults=())  # What was retried and went well is no failure.
        return Outcome(changes, problem, cancelled=bool(self.cli.interrupts and (problem or changes.faults)))

    def _words(self, stack: str, error: CliError) -> str:
        words = re.sub(r"^error: ", "", str(error), flags=re.MULTILINE)
        if not isinstance(error.__cause__, auto.ConcurrentUpdateError):
            return words
        return lock.of_the_backend(stack, words)


def _event(raw: auto.EngineEvent) -> Event | None:
    if raw.resource_pre_event:
        return _step("begun", raw.resource_pre_event.metadata)
    if raw.res_outputs_event:
        return _step("ended", raw.res_outputs_event.metadata)
    if raw.res_op_failed_event:
        return _step("failed", raw.res_op_failed_event.metadata)
    if raw.diagnostic_event and not raw.diagnostic_event.ephemeral:
        message = raw.diagnostic_event
        return Message(message.severity, plain(message.message), message.urn or "")
    if raw.policy_event:
        policy = raw.policy_event
        severity = "error" if policy.enforcement_level == "mandatory" else "warning"
        return Message(severity, f"policy {policy.policy_name}: {plain(policy.message)}", policy.resource_urn or "")
    if raw.summary_event:
        counts = {str(getattr(op, "value", op)): n for op, n in raw.summary_event.resource_changes.items()}
        return Totals({op: n for op, n in counts.items() if op not in _UNCOUNTED and n})
    return None


def _step(phase: Phase, data: auto.StepEventMetadata) -> Step:
    state = data.old or data.new
    detailed = {
        path: diff.diff_kind.value.removesuffix("-replace") for path, diff in (data.detailed_diff or {}).items()
    }
    properties = detailed or dict.fromkeys(data.diffs or [], "update")
    return Step(
        phase, data.op.value, data.urn, data.type, bool(state and state.custom),
        bool(data.old and data.old.protect), tuple(Property(path, kind) for path, kind in sorted(properties.items())),
    )  # fmt: skip
