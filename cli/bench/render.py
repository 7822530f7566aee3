"""Owns `fleet bench render`: rendering 1,500 dedicated agents, beside `helm template` of the very same objects.

Both are whole processes from start to end that write files. The chart is generated from the same manifests, in
a temporary folder, and the two results are compared before any number is printed. helm comes from PATH or is
built once from its Go module into the cache folder, where go is installed.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.errors import CommandError
from cli.output import Json, print_json, print_table

HELM_MODULE = "helm.sh/helm/v4/cmd/helm@latest"
_SAMPLE = 25
"""Every how many agents the two results are compared object by object."""
_FOLDER_PER_SHARD = "shard-{}"


def render(
    runs: Annotated[int, typer.Option("--runs", min=1, help="Runs of each; the median counts.")] = 5,
    as_json: Json = False,
) -> None:
    """Time rendering every agent of the catalog dedicated, beside helm template of the same objects."""
    helm = _helm()
    with tempfile.TemporaryDirectory(prefix="fleet-bench-") as name:
        folder = Path(name)
        ours = [
            sys.executable,
            "-c",
            "import sys; from cli.bench.render import child; child(sys.argv[1])",
            str(folder / "ours"),
        ]
        _timed(ours)
        objects = _write_chart(folder / "chart")
        theirs = (
            [helm, "template", "agents", str(folder / "chart"), "--output-dir", str(folder / "theirs")] if helm else []
        )
        result: dict[str, Any] = {
            "objects": objects,
            "runs": runs,
            "fleet": statistics.median(_timed(ours) for _ in range(runs)),
        }
        if theirs:
            _timed(theirs)
            _compare(folder)
            result["helm"] = statistics.median(_timed(theirs) for _ in range(runs))
            result["ratio"] = result["fleet"] / result["helm"]
    if as_json:
        print_json(result)
        return
    rows = [("fleet render", f"{result['fleet']:.2f} s")]
    if theirs:
        rows += [("helm template", f"{result['helm']:.2f} s"), ("ratio", f"{result['ratio']:.2f}")]
    print_table((f"{objects:,} OBJECTS", f"MEDIAN OF {runs}"), rows, empty="")
    if not theirs:
        print("helm is neither on PATH nor could it be built (go is missing): nothing to compare with.")


def child(output: str) -> None:
    """What `fleet render` does for a dedicated fleet of the whole catalog, sharded as its stacks would be."""
    from infra.plan import render as rendering

    rendering.keep_garbage()
    registry, specs = _shards()
    for index, spec in enumerate(specs):
        rendering.write(rendering.fleet(spec, registry), Path(output) / _FOLDER_PER_SHARD.format(index))


def _shards() -> tuple[Any, list[Any]]:
    from catalog import registry as catalog
    from infra import settings
    from infra.rules import AGENTS_PER_STACK

    registry = catalog.load()
    ids = [agent.id for agent in registry]
    parts = [ids[start : start + AGENTS_PER_STACK] for start in range(0, len(ids), AGENTS_PER_STACK)]
    base = {
        "cloud": "existing",
        "environment": "prod",
        "data": "external",
        "layers": ["fleet"],
        "stacks": {"foundation": "f", "services": "s"},
    }
    external = {"database": {"host": "db", "password": "x"}, "cache": {"host": "cache", "password": "x"}}
    return registry, [
        settings.parse({**base, **external, "fleet": {"isolation": "dedicated", "shard": f"s{index}", "agents": part}})
        for index, part in enumerate(parts)
    ]


def _objects() -> Iterator[tuple[str, list[Any]]]:
    from infra.plan import render as rendering

    registry, specs = _shards()
    for index, spec in enumerate(specs):
        for owner, objects in rendering.fleet_objects(spec, registry):
            yield (owner if owner != "routes" else f"routes-{index}"), objects


def _write_chart(folder: Path) -> int:
    """A chart whose template is the first agent's manifests with its own texts as placeholders; values for each agent."""
    from catalog import registry as catalog
    from infra.plan import yaml

    registry = catalog.load()
    (folder / "templates").mkdir(parents=True)
    (folder / "Chart.yaml").write_text("apiVersion: v2\nname: agents\nversion: 1.0.0\n", "utf-8")
    rows: list[dict[str, Any]] = []
    routes: list[Any] = []
    template = ""
    objects = 0
    for owner, manifests in _objects():
        objects += len(manifests)
        if owner.startswith("routes-"):
            routes += manifests
            continue
        agent = registry.require(owner)
        chunk, deployment = manifests[0], manifests[1]
        (key,) = chunk["data"]
        row = {
            "name": owner,
            "id": agent.id,
            "pool": agent.pool,
            "domain": agent.domain,
            "port": agent.port,
            "catalog": chunk["metadata"]["name"],
            "digest": deployment["spec"]["template"]["metadata"]["annotations"]["ai-agents/catalog-digest"],
            "document": chunk["data"][key],
        }
        rows.append(row)
        template = template or _template(manifests, row)
    (folder / "templates" / "agents.yaml").write_text(template, "utf-8")
    (folder / "templates" / "routes.yaml").write_text(
        "{{ range .Values.routes }}\n---\n{{ toYaml . }}\n{{ end }}\n", "utf-8"
    )
    (folder / "values.yaml").write_text(yaml.document({"agents": rows, "routes": routes}), "utf-8")
    return objects


def _template(manifests: list[Any], row: dict[str, Any]) -> str:
    from infra.plan import yaml

    marked = [dict(item) for item in manifests]
    marked[0] = {**marked[0], "data": {f"{row['id']}.json": "DOCUMENT"}}
    text = yaml.documents(marked)
    # The longest first: the catalog's name and the digest hold parts of the others.
    for field in ("digest", "catalog", "id", "name"):
        text = text.replace(str(row[field]), f"{{{{ .{field} }}}}")
    text = text.replace(f"pool: {row['pool']}", "pool: {{ .pool }}").replace(
        f"domain: {row['domain']}", "domain: {{ .domain }}"
    )
    text = text.replace(str(row["port"]), "{{ .port }}").replace("DOCUMENT", "{{ .document | toJson }}")
    return "{{ range .Values.agents }}\n" + text + "{{ end }}\n"


def _compare(folder: Path) -> None:
    """Raises CommandError where the two do not hold the same objects."""
    import yaml

    def read(paths: Iterator[Path], every: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for path in paths:
            parts = [part for part in ("\n" + path.read_text("utf-8")).split("\n---") if "kind:" in part]
            for part in parts:
                name = part.partition("  name: ")[2].partition("\n")[0].strip('"')
                kind = part.partition("\nkind: ")[2].partition("\n")[0]
                found[f"{kind}/{name}"] = part
        chosen = sorted(found)[::every]
        return {key: yaml.load(found[key], Loader=yaml.CSafeLoader) for key in chosen} | {"": len(found)}

    ours, theirs = (read(iter(sorted((folder / side).rglob("*.yaml"))), _SAMPLE) for side in ("ours", "theirs"))
    different = sorted(key for key in {*ours, *theirs} if ours.get(key) != theirs.get(key))
    if different:
        raise CommandError(
            f"the chart does not render the same objects: {', '.join(different[:5])}; nothing was measured"
        )


def _timed(command: list[str]) -> float:
    started = time.perf_counter()
    finished = subprocess.run(
        command, capture_output=True, check=False, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    if finished.returncode:
        raise CommandError(f"{command[0]} failed: {finished.stderr.decode(errors='replace')[-2000:]}")
    return time.perf_counter() - started


def _helm() -> str:
    """helm's path: of PATH, of the cache, or built into it; empty where go is missing too."""
    found = shutil.which("helm")
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ai-agents-platform" / "bin"
    if found or (cache / "helm").is_file():
        return found or str(cache / "helm")
    if shutil.which("go") is None:
        return ""
    print(f"building helm from {HELM_MODULE}, once (some minutes) …", file=sys.stderr)
    built = subprocess.run(
        ["go", "install", HELM_MODULE], env={**os.environ, "GOBIN": str(cache)}, capture_output=True, check=False
    )
    if built.returncode:
        raise CommandError(f"helm could not be built: {built.stderr.decode(errors='replace')[-2000:]}")
    return str(cache / "helm")
