"""Owns `fleet users`, `fleet keys` and `fleet limits`: control's API for operators. Secrets made there are shown once."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from cli import api
from cli.errors import CommandError, Exit
from cli.output import Json, print_json, print_table

users_app = typer.Typer(no_args_is_help=True, add_completion=False, help="Create and manage users.")
keys_app = typer.Typer(no_args_is_help=True, add_completion=False, help="Create, list and revoke API keys.")
limits_app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="See and set how many requests a minute a user may make."
)

User = Annotated[str, typer.Argument(help="Username or id.")]
FromStdin = Annotated[
    bool,
    typer.Option("--password-stdin", help="Read the password from standard input instead of having a random one made."),
]


@users_app.command("create")
def create_user(
    username: Annotated[str, typer.Argument(help="Letters, digits and . _ @ + -, at most 64.")],
    admin: Annotated[bool, typer.Option("--admin", help="Give them the rights of an administrator.")] = False,
    per_minute: Annotated[
        int | None, typer.Option("--limit", min=1, help="Requests a minute; default: the platform's.")
    ] = None,
    password_stdin: FromStdin = False,
    as_json: Json = False,
) -> None:
    """Create a user. A random password is made and shown once."""
    body: dict[str, Any] = {"username": username, "role": "admin" if admin else "user"}
    if per_minute is not None:
        body["requests_per_minute"] = per_minute
    if password_stdin:
        body["password"] = _password()
    made = api.call("POST", "/api/v1/users", body=body)
    if as_json:
        print_json(made)
    else:
        print(
            f"{made['username']} ({made['role']}, {made['limit']['requests_per_minute']} requests a minute) is created."
        )
        _show_once("Password", made.get("password"))


@users_app.command("list")
def list_users(text: Annotated[str, typer.Argument(help="Part of the username.")] = "", as_json: Json = False) -> None:
    """List users."""
    found = list(_pages("/api/v1/users", {"q": text}))
    if as_json:
        print_json(found)
        return
    print_table(
        ("USER", "ROLE", "STATE", "A MINUTE", "CREATED", "ID"),
        (
            (
                u["username"],
                u["role"],
                "enabled" if u["enabled"] else "disabled",
                u["limit"]["requests_per_minute"],
                u["created_at"],
                u["id"],
            )
            for u in found
        ),
        empty="No user matches.",
    )


@users_app.command("disable")
def disable_user(user: User) -> None:
    """Refuse a user from now on, their tokens and keys too."""
    api.call("POST", f"/api/v1/users/{user}/disable")
    print(f"{user} is disabled.")


@users_app.command("enable")
def enable_user(user: User) -> None:
    """Take a user's requests again."""
    api.call("POST", f"/api/v1/users/{user}/enable")
    print(f"{user} is enabled.")


@users_app.command("password")
def reset_password(user: User, password_stdin: FromStdin = False, as_json: Json = False) -> None:
    """Give a user a new password; a random one is shown once."""
    made = api.call("POST", f"/api/v1/users/{user}/password", body={"password": _password()} if password_stdin else {})
    if as_json:
        print_json(made or {})
    else:
        print(f"{user} has a new password.")
        _show_once("Password", (made or {}).get("password"))


@keys_app.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="What it is for; shown in lists.")] = "",
    user: Annotated[str | None, typer.Option("--user", help="For whom; default: yourself.")] = None,
    days: Annotated[
        int | None, typer.Option("--days", min=1, max=3650, help="Days until it expires; default: never.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Create an API key; it is shown once."""
    body = {
        name_: value
        for name_, value in {"name": name, "user": user, "expires_in_days": days}.items()
        if value is not None
    }
    made = api.call("POST", "/api/v1/keys", body=body)
    if as_json:
        print_json(made)
    else:
        until = f", until {made['expires_at']}" if made["expires_at"] else ""
        print(f"Key {made['id']} of {made['username']} is created{until}.")
        _show_once("API key", made["key"])


@keys_app.command("list")
def list_keys(
    user: Annotated[str | None, typer.Option("--user", help="Whose; * for everybody's; default: your own.")] = None,
    as_json: Json = False,
) -> None:
    """List API keys: their beginnings, never the keys."""
    found = api.call("GET", "/api/v1/keys", query={"user": user})["items"]
    if as_json:
        print_json(found)
        return
    print_table(
        ("KEY", "NAME", "USER", "STATE", "CREATED", "ID"),
        (
            (
                f"{k['prefix']}…",
                k["name"],
                k["username"],
                f"revoked {k['revoked_at']}" if k["revoked_at"] else f"until {k['expires_at'] or 'revoked'}",
                k["created_at"],
                k["id"],
            )
            for k in found
        ),
        empty="There is no API key.",
    )


@keys_app.command("revoke")
def revoke_key(key: Annotated[str, typer.Argument(help="The key's id, which fleet keys list shows.")]) -> None:
    """End an API key."""
    api.call("DELETE", f"/api/v1/keys/{key}")
    print(f"Key {key} is revoked.")


@limits_app.command("get")
def get_limit(
    user: Annotated[str | None, typer.Argument(help="Username or id; default: yourself.")] = None, as_json: Json = False
) -> None:
    """A user's limit, and what is left of it where the platform says so."""
    limit = api.call("GET", f"/api/v1/users/{user}/limit" if user else "/api/v1/limits")
    if as_json:
        print_json(limit)
    else:
        print(", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in limit.items()))


@limits_app.command("set")
def set_limit(
    user: User,
    per_minute: Annotated[str, typer.Argument(help="Requests a minute, or default.")],
) -> None:
    """Set a user's requests a minute; "default" goes back to the platform's."""
    if per_minute == "default":
        api.call("DELETE", f"/api/v1/users/{user}/limit")
        print(f"{user} has the platform's default again.")
        return
    if not per_minute.isdigit():
        raise CommandError(f"{per_minute!r} is neither a number of requests a minute nor default", Exit.USAGE)
    api.call("PUT", f"/api/v1/users/{user}/limit", body={"requests_per_minute": int(per_minute)})
    print(f"{user} may make {per_minute} requests a minute.")


def _pages(path: str, query: dict[str, Any]) -> Any:
    cursor: str | None = None
    while True:
        page = api.call("GET", path, query={**query, "cursor": cursor, "limit": 100})
        yield from page["items"]
        cursor = page.get("next_cursor")
        if not cursor:
            return


def _password() -> str:
    if sys.stdin.isatty():
        import getpass

        return getpass.getpass("Password: ")
    return sys.stdin.readline().rstrip("\n")


def _show_once(what: str, secret: str | None) -> None:
    if secret:
        print(f"{what}: {secret}   (shown once: keep it)")
