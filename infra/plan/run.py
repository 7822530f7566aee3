"""Owns running one stack's program under the recorder, in a process of its own: ``python -m infra.plan.run``.

A process per stack, because the SDK keeps its settings in globals. Reads a job (JSON) from standard input,
writes the recorded plan (JSON) to standard output and nothing else; a program's own prints go to standard
error. What a person can cause (settings, catalog, configuration) is answered as problems, not as a traceback.

The recorder may run another commit's program: it is loaded as ``infra.plan`` next to that folder's own
``infra`` package, so that both sides of a diff are recorded by the same code.
"""

from __future__ import annotations

import gc
import importlib.util
import os
import sys
import time
from pathlib import Path
from typing import Any

_STARTED = time.monotonic()
_HERE = Path(__file__).resolve().parent


def main() -> int:
    """Run the job on standard input; the exit code is 0 with a plan, 1 with an error, both as JSON."""
    import orjson

    job = orjson.loads(sys.stdin.buffer.read())
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _join(Path(job["root"]))
    answer = _answer(job)
    # Protobuf maps have no order: sorted, two recordings of one program are the same bytes.
    out.write(orjson.dumps(answer, option=orjson.OPT_SORT_KEYS))
    out.flush()
    # Nothing is left to do, and taking down a graph of thousands of resources costs half a second.
    os._exit(1 if "error" in answer else 0)


def _join(root: Path) -> None:
    """Make ``infra`` the root's package and ``infra.plan`` this folder."""
    sys.path[:] = [
        str(root),
        *(entry for entry in sys.path if entry and Path(entry).resolve() not in (_HERE, _HERE.parents[1])),
    ]
    os.chdir(root)
    spec = importlib.util.spec_from_file_location(
        "infra.plan", _HERE / "__init__.py", submodule_search_locations=[str(_HERE)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    import infra

    for name in [name for name in sys.modules if name.startswith("infra.plan")]:
        del sys.modules[name]
    sys.modules["infra.plan"] = module
    infra.plan = module
    spec.loader.exec_module(module)


def _answer(job: dict[str, Any]) -> dict[str, Any]:
    # A plan lives as long as the process: collecting in between finds nothing and costs a third of the time.
    gc.freeze()
    gc.set_threshold(200_000, 50, 1_000)
    from infra.plan.config import ConfigError

    try:
        return _record(job)
    except ConfigError as error:
        return {"error": {"kind": "config", "message": str(error), "problems": []}}
    except Exception as error:
        return {"error": _explained(error)}


def _record(job: dict[str, Any]) -> dict[str, Any]:
    from infra.plan import config, host
    from infra.plan.fill import Fill
    from infra.plan.recorder import Recorder, reveal

    found = config.project(Path(job["root"]), required=job.get("values") is None)
    if job.get("values") is None:
        stack = config.stack_config(found, job["stack"])
    else:
        stack = config.from_values(found, job["stack"], job["values"])
    own = dict(config.own_values(stack, found.name))
    facts = {key: own[key] for key in ("region", "account") if isinstance(own.get(key), str) and own[key]}
    recorder = Recorder(job["mode"], Fill(**facts), job.get("references"), job.get("state"))
    host.run(job["program"], recorder, project=found.name, stack=stack)
    answer = {
        "stack": stack.stack,
        "project": found.name,
        "mode": job["mode"],
        "values": {key: value for key, value in own.items() if f"{found.name}:{key}" not in stack.secrets},
        "resources": recorder.records,
        "outputs": recorder.outputs,
        "seconds": round(time.monotonic() - _STARTED, 2),
    }
    if job.get("reveal_outputs") and recorder.raw_outputs is not None:
        answer["revealed"] = {key: reveal(value) for key, value in recorder.raw_outputs.fields.items()}
    return answer


def _explained(error: BaseException) -> dict[str, Any]:
    """The error as data: a refusal with its problems, or what the program did wrong and where."""
    import traceback

    chain: list[BaseException] = [error]
    while (cause := chain[-1].__cause__) is not None and cause not in chain:
        chain.append(cause)
    for link in chain:
        problems = getattr(link, "problems", None)
        if problems is not None:
            listed = [list(problem) if isinstance(problem, tuple) else ["", str(problem)] for problem in problems]
            return {"kind": "refused", "message": str(link), "problems": listed}
    innermost = chain[-1]
    frames = [
        frame
        for frame in traceback.extract_tb(innermost.__traceback__)
        if "site-packages" not in frame.filename and str(_HERE) not in frame.filename
    ]
    where = "".join(traceback.format_list(frames[-6:]))
    kind = "program" if type(innermost).__name__ != "RecordError" else "refused"
    return {
        "kind": kind,
        "message": f"{type(innermost).__name__}: {innermost}" if kind == "program" else str(innermost),
        "problems": [],
        "where": where,
    }


if __name__ == "__main__":
    sys.exit(main())
