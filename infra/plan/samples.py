"""Owns plausible texts of the contracts between layers, without Pulumi: what another stack is taken to export.

The recorder fills a StackReference with them and `fleet render` a fleet that stands alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

TEXTS: Final[Mapping[str, str]] = {
    "endpoint": "https://cluster.example.internal",
    "kubeconfig": '{"apiVersion":"v1","kind":"Config","clusters":[],"contexts":[],"users":[]}',
    "issuer": "https://oidc.example.internal",
    "host": "database.example.internal",
    "state_host": "state.example.internal",
    "cache_host": "cache.example.internal",
    "hostname": "api.agents.example.com",
    "vault_address": "https://vault.vault.svc.cluster.local:8200",
    "consul_address": "https://consul-server.consul.svc.cluster.local:8501",
    "redis_state_secret": "redis",
    "identity_keys": "identity-keys",
    "mesh": "none",
    "kind": "s3",
    "ca": "",
    "credentials_secret": "",
}
"""Field of a contract → its text; fields that are not here are named after themselves."""

NOUNS = {
    "origin": {
        "target_group": "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/agents/0123456789abcdef",
        **{
            noun: f"edge-{noun.replace('_', '-')}"
            for noun in (
                "address",
                "certificate",
                "security_policy",
                "ssl_policy",
                "resource_group",
                "profile",
                "endpoint",
                "domain",
            )
        },
        "group": "/subscriptions/s/resourceGroups/g/providers/Microsoft.Cdn/profiles/p/originGroups/gateway",
    },
}
"""Contracts that are mappings of the clouds' own nouns: every noun any cloud has."""
