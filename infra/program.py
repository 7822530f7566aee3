"""Owns the order of the layers: settings → foundation → services → fleet, each built here or read elsewhere."""

from __future__ import annotations

from importlib import import_module

import pulumi

from infra import kubernetes, naming, rules, settings
from infra.contracts import Foundation, Services, reference
from infra.naming import Placement
from infra.settings import PlatformSpec, SettingsError


def main() -> None:
    """Build the stack that Pulumi's configuration describes. Raises SettingsError before anything is registered."""
    spec = read_settings()
    build(spec)


def read_settings() -> PlatformSpec:
    """The validated configuration of the current stack; on `up` also what a preview may leave open.

    Raises SettingsError with every problem, among them a layer that this stack has and its configuration lost.
    """
    config = pulumi.Config(settings.PROJECT)
    # The engine hands configuration over by environment; mocks set it in the process.
    keys = {**pulumi.runtime.config.get_config_env(), **pulumi.runtime.config.CONFIG.get()}
    spec = settings.load(config.get, keys)
    problems = _lost_layers(spec)
    if not pulumi.runtime.is_dry_run():
        problems += rules.deployable(spec)
    if problems:
        raise SettingsError(problems)
    return spec


def _lost_layers(spec: PlatformSpec) -> list[rules.Problem]:
    # The engine's own record of this stack: what it exported the last time it was brought up.
    stack = f"{pulumi.get_organization()}/{pulumi.get_project()}/{pulumi.get_stack()}"
    answer = pulumi.runtime.invoke("pulumi:pulumi:readStackOutputs", {"name": stack}).value or {}
    had = (answer.get("outputs") or {}).get("layers") or []
    return rules.lost_layers(spec, had)


def build(spec: PlatformSpec) -> None:
    """Register every resource of the stack and its outputs."""
    place = naming.placement(spec)
    foundation = _foundation(spec, place)
    pulumi.export("layers", list(spec.layers))
    if spec.builds("foundation"):
        pulumi.export("foundation", foundation.export())
    if not (spec.builds("services") or spec.builds("fleet")):
        return
    # A cluster you have is reached by your own kubeconfig; the clouds' come from the foundation.
    existing = spec.cloud == "existing"
    provider = kubernetes.provider("cluster", None if existing else foundation.cluster, spec.cluster.context)
    services = _services(spec, place, foundation, provider)
    if spec.builds("services"):
        pulumi.export("services", services.export())
    if spec.builds("fleet"):
        from infra.workloads.fleet import Fleet

        fleet = Fleet("fleet", spec, services, provider)
        pulumi.export("fleet", fleet.summary)


def _foundation(spec: PlatformSpec, place: Placement) -> Foundation:
    if spec.builds("foundation"):
        module = import_module(f"infra.clouds.{spec.cloud}")
        foundation: Foundation = module.foundation(spec, place)
        return foundation
    return Foundation.read(reference(spec.stacks.foundation).require_output("foundation"))


def _services(
    spec: PlatformSpec, place: Placement, foundation: Foundation, provider: pulumi.ProviderResource
) -> Services:
    if spec.builds("services"):
        from infra.services import services

        return services(spec, place, foundation, provider)
    return Services.read(reference(spec.stacks.services).require_output("services"))
