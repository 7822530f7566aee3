"""Consul in the cluster: discovery and dynamic settings. Servers alone, no sidecars: connect injection is off.

Three servers (one on a cluster for development), ACLs that deny by default, TLS everywhere, encrypted gossip.
Tokens reach pods as Kubernetes Secrets, one a role, so that Consul does not need Vault, nor the other way round.
Services of Kubernetes get into the catalog where they ask for it (annotation consul.hashicorp.com/service-sync),
processes of the platform register themselves.
"""
