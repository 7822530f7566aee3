"""The fleet: agents of the catalog as Kubernetes workloads.

``manifests`` is pure (AgentSpec → dict); ``fleet``, ``pool`` and ``agent`` are the components that register them.
"""
