"""`fleet down STACK…` against real processes of the CLI's stand-in."""

from __future__ import annotations

from tests.cli.deploy.conftest import Clone, answered, resources


def two(clone: Clone, environment: str = "dev") -> None:
    """A foundation and services on it, both up."""
    clone.stack("base", "foundation", environment=environment)
    clone.program("base", resources(2), outputs=("foundation",))
    clone.stack("svc", "services", environment=environment, foundation="base")
    clone.program("svc", resources(3), outputs=("services",), reads=("base:foundation",))
    clone.run("up", "base", "svc", "--yes", "--allow-checkout")


def test_readers_go_before_what_they_read_and_the_stacks_stay(clone: Clone) -> None:
    two(clone)
    shown = clone.run("down", "base", "svc", "--yes")
    assert [call["options"]["--stack"] for call in clone.calls("destroy") if "--yes" in call["options"]] == [
        "svc",
        "base",
    ]
    assert "3 to delete" in shown
    assert "svc   3 deleted" in shown
    assert clone.names("base") == clone.names("svc") == []
    assert (clone.root / "stacks" / "Pulumi.base.yaml").exists()


def test_what_another_stack_stands_on_is_not_taken_down(clone: Clone) -> None:
    two(clone)
    shown = clone.run("down", "base", "--yes", code=1)
    assert "base: svc stand on it. Take them down with it, or before: fleet down svc base --yes" in shown
    assert len(clone.names("base")) == 2


def test_protected_resources_are_listed_and_stay(clone: Clone) -> None:
    two(clone)
    clone.program("svc", resources(3, protect=True), outputs=("services",))
    clone.up("svc")
    shown = clone.run("down", "svc", "--yes", code=1)
    assert "svc: holds protected resources, which are not taken down:\n    Deployment d1" in shown
    assert "set deletionProtection: false in stacks/Pulumi.svc.yaml" in shown
    assert len(clone.names("svc")) == 3


def test_production_goes_only_by_typing_its_name(clone: Clone) -> None:
    two(clone, environment="prod")
    code, shown = answered(clone, "down", "svc", "--allow-checkout", answer="yes\n")
    assert code == 1
    assert "not confirmed: nothing was changed" in shown
    assert len(clone.names("svc")) == 3
    code, _ = answered(clone, "down", "svc", "--allow-checkout", answer="svc\n")
    assert (code, clone.names("svc")) == (0, [])


def test_what_was_never_up_is_said(clone: Clone) -> None:
    clone.stack("dev", "foundation", "services", "fleet")
    assert "dev: not in the backend, so there is nothing to take down" in clone.run("down", "dev", "--yes", code=1)
