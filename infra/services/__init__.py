"""The services layer: what makes the fleet reachable, observable, secret-keeping and recoverable."""

from __future__ import annotations

import pulumi
from pulumi import ResourceOptions

from infra.clouds.foundation import Layer
from infra.contracts import Foundation, Services
from infra.naming import Placement
from infra.services.admission.component import Admission, AdmissionArgs
from infra.services.autoscaling import Autoscaling, AutoscalingArgs
from infra.services.base import Base, BaseArgs
from infra.services.certificate_manager import CertificateManager, CertificateManagerArgs
from infra.services.consul.component import Consul, ConsulArgs
from infra.services.control import Control, ControlArgs
from infra.services.edge import Exposure, ExposureArgs
from infra.services.gateway import Gateway, GatewayArgs
from infra.services.mesh.component import Mesh, MeshArgs
from infra.services.monitoring import Monitoring, MonitoringArgs
from infra.services.policies.boundary import Boundary, BoundaryArgs
from infra.services.policies.roles import DATA
from infra.services.vault.component import Vault, VaultArgs
from infra.settings import PlatformSpec


def services(
    spec: PlatformSpec, place: Placement, foundation: Foundation, provider: pulumi.ProviderResource
) -> Services:
    """Register the services in the cluster and hand on what the fleet needs of them."""
    layer = Layer("services")
    options = ResourceOptions(parent=layer, provider=provider)
    if spec.cloud == "aws":
        Autoscaling("services-autoscaling", AutoscalingArgs(spec, place), opts=options)
    admission = Admission("services-admission", AdmissionArgs(spec), opts=options)
    base = Base("services-base", BaseArgs(spec, place, foundation), opts=options)
    if spec.data == "in-cluster":
        # The foundation made the namespace; who may enter it is decided where everything else is.
        Boundary(
            "services-boundary-data",
            BoundaryArgs(spec, DATA, "data", made=base),
            opts=options,
        )
    after = ResourceOptions(parent=layer, provider=provider, depends_on=[admission, base])
    before: list[pulumi.Resource] = []
    if spec.components.mesh == "istio":
        before.append(Mesh("services-mesh", MeshArgs(spec), opts=after))
    vault = consul = None
    if spec.components.vault:
        vault = Vault("services-vault", VaultArgs(spec, place, foundation), opts=after)
        before.append(vault)
    if spec.components.consul:
        consul = Consul("services-consul", ConsulArgs(spec, place), opts=after)
        before.append(consul)
    control = Control(
        "services-control",
        ControlArgs(spec, base, vault.ready if vault else None, consul.ready if consul else None),
        opts=ResourceOptions.merge(after, ResourceOptions(depends_on=before)),
    )
    manager = None
    if spec.components.certificates:
        manager = CertificateManager(
            "services-certificates", CertificateManagerArgs(spec, place, foundation), opts=after
        )
        before.append(manager)
    gateway = Gateway(
        "services-gateway",
        GatewayArgs(
            spec,
            foundation.edge,
            manager.client_id if manager else None,
            manager.release if manager else None,
        ),
        opts=ResourceOptions.merge(after, ResourceOptions(depends_on=[control, *before])),
    )
    if spec.cloud != "existing":
        Exposure(
            "services-exposure",
            ExposureArgs(spec, place, foundation, gateway.service),
            opts=ResourceOptions.merge(after, ResourceOptions(depends_on=[gateway])),
        )
    if spec.components.monitoring:
        Monitoring(
            "services-monitoring",
            MonitoringArgs(spec, foundation, base.stores_secret),
            opts=ResourceOptions.merge(after, ResourceOptions(depends_on=before)),
        )
    return Services(
        vault_address=vault.ready if vault else "",
        consul_address=consul.ready if consul else "",
        redis_state_secret=base.stores_secret,
        identity_keys=base.identity_keys,
        mesh=spec.components.mesh,
    )


__all__ = ["services"]
