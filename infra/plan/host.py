"""Owns being the language host of one program: Pulumi's settings, an event loop and the program's entry.

Does what ``pulumi-language-python-exec`` does, with a recorder in the engine's place.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from pulumi.runtime import config as runtime_config
from pulumi.runtime import mocks, stack
from pulumi.runtime import resource as runtime_resource
from pulumi.runtime.proto import source_pb2
from pulumi.runtime.settings import configure

from infra.plan.config import StackConfig
from infra.plan.recorder import Recorder

ORGANIZATION = "organization"
"""What a self-managed backend calls the organization."""


def run(program: str, recorder: Recorder, *, project: str, stack: StackConfig) -> None:
    """Run ``program`` (``module:function``) to the end. Raises what the program raises."""
    runtime_config.set_all_config(dict(stack.values), list(stack.secrets))
    # Where a resource was made is not part of a plan, and walking the stack is a sixth of the time.
    runtime_resource._get_stack_trace = source_pb2.StackTrace
    make: Any = mocks.MockSettings
    settings = make(
        monitor=recorder,
        engine=mocks.MockEngine(None),
        project=project,
        stack=stack.stack,
        dry_run=True,
        organization=ORGANIZATION,
        callbacks=None,
    )
    configure(settings)
    module, _, function = program.partition(":")
    asyncio.run(_host(lambda: getattr(importlib.import_module(module), function)()))


async def _host(entry: Callable[[], Any]) -> None:
    asyncio.get_running_loop().set_default_executor(_Inline(max_workers=1))
    await stack.run_in_stack(entry)


class _Inline(ThreadPoolExecutor):
    """Answers in the caller's thread: the recorder never waits, and the order of records is the program's."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)
        return future
