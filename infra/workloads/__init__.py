"""The fleet: agents of the catalog as Kubernetes workloads.

``selection`` says which run, ``manifests`` and ``rollout`` are pure (workload → dicts), ``routes`` what the gateway
is told; ``fleet`` and ``component`` register them.
"""
