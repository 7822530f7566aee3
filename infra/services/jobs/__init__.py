"""What runs inside the cluster for Vault and Consul: their bootstraps, snapshots, hand-over of credentials.

These modules reach a pod as a ConfigMap, mounted as the package ``jobs`` beside the runtime image's own
packages (infra.services.scripts): they use the standard library, hvac and ``catalog.contract`` and nothing
of ``infra``. Cloud services are called by plain HTTPS with the pod's workload identity, so the image needs no cloud SDK.
"""
