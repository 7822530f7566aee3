"""Owns `fleet agents`: the catalog from its files, whether the platform runs or not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from catalog.contract import Env
from cli.errors import CommandError, Exit
from cli.output import Json, print_json, print_table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from catalog.registry import Registry
    from catalog.schema import AgentSpec

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="List, search, show, check and write agents of the catalog."
)

Pool = Annotated[str | None, typer.Option("--pool", help="business, technology or knowledge.")]
Domain = Annotated[str | None, typer.Option("--domain", help="A domain, such as strategy.")]
Tag = Annotated[str | None, typer.Option("--tag", help="A tag.")]
Owner = Annotated[str | None, typer.Option("--owner", help="An owner team.")]
_LISTED = {"id", "name", "description", "pool", "domain", "owner", "tags", "isolation"}
AgentId = Annotated[str, typer.Argument(help="The agent's id or Kubernetes name.")]


@app.command("list")
def list_agents(
    pool: Pool = None, domain: Domain = None, tag: Tag = None, owner: Owner = None, as_json: Json = False
) -> None:
    """List agents, by pool and number."""
    _print_agents(_catalog().search("", pool=pool, domain=domain, tag=tag, owner=owner), as_json)


@app.command()
def search(
    words: Annotated[
        list[str], typer.Argument(help="Words that all must occur in id, name, description, domain or tags.")
    ],
    pool: Pool = None,
    domain: Domain = None,
    tag: Tag = None,
    owner: Owner = None,
    as_json: Json = False,
) -> None:
    """Search agents, best match first. Exit code 5 where none matches."""
    found = _catalog().search(" ".join(words), pool=pool, domain=domain, tag=tag, owner=owner)
    _print_agents(found, as_json)
    if not found:
        raise typer.Exit(Exit.NOT_FOUND)


@app.command()
def show(agent: AgentId, as_json: Json = False) -> None:
    """Show one agent: what it does, its inputs, how it runs, its instructions."""
    catalog = _catalog()
    spec = _required(catalog, agent)
    described = {
        **spec.model_dump(mode="json"), "number": spec.number, "kubernetes_name": spec.kubernetes_name, "port": spec.port,
        "digest": catalog.agent_digest(spec.id),
    }  # fmt: skip
    if as_json:
        print_json(described)
        return
    print(f"{spec.name} ({spec.id})\n{spec.description}\n")
    print(f"pool {spec.pool} · domain {spec.domain} · owner {spec.owner} · tags {', '.join(spec.tags)}")
    print(
        f"{spec.isolation} · rollout {spec.rollout.strategy if spec.rollout else 'as its fleet'} · model {spec.model.model or 'the fleet’s'} · digest {described['digest'][:12]}\n"
    )
    print_table(
        ("INPUT", "WHAT", "DEFAULT", "EXAMPLE"),
        ((name, i.description, i.default, i.example) for name, i in spec.inputs.items()),
        empty="",
    )
    print(
        f"\nInstructions\n\n{spec.prompt.system}\n\nRequest\n\n{spec.prompt.request}\n\nTry it\n\n  fleet run {spec.id} {_quoted(spec.example)}"
    )


@app.command()
def readme(
    agent: AgentId,
    url: Annotated[str, typer.Option("--url", help="Base URL of the examples.")] = "http://localhost:8000",
) -> None:
    """Print an agent's README (Markdown), generated from the catalog."""
    from catalog.readme import readme as generated

    print(generated(_required(_catalog(), agent), url), end="")


@app.command()
def check(as_json: Json = False) -> None:
    """Validate the whole catalog and print everything wrong with it, with file, agent and field. Exit code 1 where there is anything."""
    from catalog import quality
    from catalog.registry import CatalogError, load

    problems: list[dict[str, str]] = []
    count = 0
    try:
        catalog = load(_folder())
        count = len(catalog)
    except CatalogError as error:
        problems = [{"file": p.file, "agent": p.agent, "field": p.field, "message": p.message} for p in error.problems]
    else:
        for sentence, ids in quality.shared_sentences(catalog):
            problems.append(
                _finding(
                    ids[0],
                    "prompt.instructions",
                    f"the sentence “{sentence}” is shared by {len(ids)} agents ({', '.join(ids[1:6])} …); at most {quality.SHARED_SENTENCE_LIMIT} may",
                )
            )
        for similarity, left, right in quality.similar_pairs(catalog):
            problems.append(
                _finding(
                    left,
                    "prompt",
                    f"is {similarity:.0%} the same as {right}; at most {quality.SIMILARITY_LIMIT:.0%} is fine",
                )
            )
        problems += _port_conflicts(catalog)
    if as_json:
        print_json({"agents": count, "problems": problems})
    else:
        for problem in problems:
            print(": ".join(part for part in problem.values() if part))
        print(
            f"{len(problems)} problem{'s' if len(problems) != 1 else ''}."
            if problems
            else f"{count} agents, nothing wrong."
        )
    if problems:
        raise typer.Exit(Exit.FAILED)


@app.command()
def new(
    pool: Annotated[str, typer.Argument(help="business, technology or knowledge.")],
    domain: Annotated[str, typer.Argument(help="An existing domain of the pool, such as strategy.")],
    name: Annotated[str | None, typer.Option("--name", help="Display name; its words make the id.")] = None,
) -> None:
    """Add an agent to a domain's file: a complete entry to be rewritten, with the pool's next free number. Comments are kept."""
    from cli import entry

    path = _folder() / pool / f"{domain}.yaml"
    if not path.is_file():
        there = sorted(f"{p.parent.name} {p.stem}" for p in _folder().glob("*/*.yaml") if p.stem != "pool")
        raise CommandError(f"there is no {path}; pools and domains are: {', '.join(there)}", Exit.NOT_FOUND)
    agent_id, line = entry.append(path, entry.next_number(path.parent), name or "New agent")
    print(
        f"{path}:{line}: {agent_id} is added. Write its description, instructions and inputs, then: fleet agents check"
    )


def _finding(agent: str, field: str, message: str) -> dict[str, str]:
    return {"file": "", "agent": agent, "field": field, "message": message}


def _port_conflicts(catalog: Registry) -> list[dict[str, str]]:
    from cli.local.serving import PortConflictError, dedicated_ports

    try:
        dedicated_ports(catalog)
    except PortConflictError as error:
        return [_finding("", "isolation", str(error))]
    return []


def _folder() -> Path:
    from catalog.registry import POOLS_FOLDER

    return Path(os.environ.get(Env.CATALOG_PATH) or POOLS_FOLDER)


def _catalog() -> Registry:
    from catalog.registry import CatalogError, load

    try:
        return load(_folder())
    except CatalogError as error:
        raise CommandError(str(error)) from None


def required_agents(names: Iterable[str]) -> list[str]:
    """Ids of agents named by id or Kubernetes name. Raises CommandError for the first that is neither."""
    catalog = _catalog()
    return [_required(catalog, name).id for name in names]


def _required(catalog: Registry, agent: str) -> AgentSpec:
    spec = catalog.get(agent)
    if spec is None:
        from difflib import get_close_matches

        near = get_close_matches(agent.replace("-", "_"), [each.id for each in catalog], 3)
        raise CommandError(
            f"there is no agent {agent!r}{'; did you mean ' + ' or '.join(near) + '?' if near else '; fleet agents search finds agents'}",
            Exit.NOT_FOUND,
        )
    return spec


def _print_agents(found: list[AgentSpec], as_json: bool) -> None:
    if as_json:
        print_json([spec.model_dump(mode="json", include=_LISTED) for spec in found])
        return
    print_table(
        ("AGENT", "NAME", "POOL", "DOMAIN", "OWNER"),
        ((a.id, a.name, a.pool, a.domain, a.owner) for a in found),
        empty="No agent matches.",
    )
    if found:
        print(f"\n{len(found)} agent{'s' if len(found) != 1 else ''}")


def _quoted(text: str) -> str:
    import shlex

    return shlex.quote(text)
