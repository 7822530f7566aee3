"""The optional service mesh: Istio, for canaries that Istio splits instead of nginx (components.mesh: istio).

``canary`` renders an agent's VirtualService and DestinationRule, ``component`` installs Istio. Sidecars go where a
split is decided or measured: into the gateway, and into the pods of an agent while it has two versions.
"""
