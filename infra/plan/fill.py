"""Owns plausible computed outputs for the recorder's known mode: ids, ARNs, endpoints, certificates.

Values are deterministic and follow the names and types of the SDK's own output properties, so that any
resource type is covered without a list; ``_FACTS`` has what names and types do not tell. They are shaped
like the clouds' and are nobody's.
"""

from __future__ import annotations

import dataclasses
import hashlib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi
from pulumi import _types

from infra.plan import samples

_DEPTH = 5
_GLOBAL = ("iam", "route53", "cloudfront")
"""AWS services whose ARNs name no region."""
_PEM = "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIUQ2VydGlmaWNhdGUgb2YgYSBwbGFu\n-----END CERTIFICATE-----\n"
_BASE64 = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUJzekNDQVZtZ0F3SUJBZ0lVCi0tLS0tRU5EIENFUlRJRklDQVRFLS0tLS0K"

_AWS_IDS = {
    "Vpc": "vpc", "Subnet": "subnet", "SecurityGroup": "sg", "NatGateway": "nat", "InternetGateway": "igw", "RouteTable": "rtb",
    "Eip": "eipalloc", "VpcEndpoint": "vpce", "FlowLog": "fl", "LaunchTemplate": "lt", "NetworkAcl": "acl", "FileSystem": "fs",
}  # fmt: skip

ANSWERS: Mapping[str, Mapping[str, Any]] = {
    "azure-native:containerservice:listManagedClusterUserCredentials": {
        # A kubeconfig without clusters: {"apiVersion":"v1","kind":"Config"}
        "kubeconfigs": [{"name": "clusterUser", "value": "eyJhcGlWZXJzaW9uIjoidjEiLCJraW5kIjoiQ29uZmlnIn0="}]
    },
    "azure-native:redisenterprise:listDatabaseKeys": {
        "primaryKey": "redis-primary-key",
        "secondaryKey": "redis-secondary-key",
    },
}
"""Provider functions that a program may call on what it makes itself; their answers are secret."""

_FACTS: Mapping[str, Mapping[str, Any]] = {
    "aws:eks/cluster:Cluster": {
        "endpoint": "https://{hex}.gr7.{region}.eks.amazonaws.com",
        "certificateAuthority": {"data": _BASE64},
        "certificateAuthorities": [{"data": _BASE64}],
        "identities": [{"oidcs": [{"issuer": "https://oidc.eks.{region}.amazonaws.com/id/{hex}"}]}],
        "vpcConfig.clusterSecurityGroupId": "sg-{hex}",
        "vpcConfig.vpcId": "vpc-{hex}",
    },
    "aws:rds/instance:Instance": {
        "address": "{name}.{hex}.{region}.rds.amazonaws.com",
        "endpoint": "{name}.{hex}.{region}.rds.amazonaws.com:5432",
        "port": 5432,
        "masterUserSecrets": [
            {
                "secretArn": "arn:aws:secretsmanager:{region}:{account}:secret:rds!db-{hex}",
                "secretStatus": "active",
                "kmsKeyId": "{hex}",
            }
        ],
    },
    "aws:elasticache/replicationGroup:ReplicationGroup": {
        "primaryEndpointAddress": "master.{name}.{hex}.{region}.cache.amazonaws.com",
        "readerEndpointAddress": "replica.{name}.{hex}.{region}.cache.amazonaws.com",
        "configurationEndpointAddress": "clustercfg.{name}.{hex}.{region}.cache.amazonaws.com",
        "port": 6379,
    },
    "gcp:container/cluster:Cluster": {
        "endpoint": "10.0.0.2",
        "privateClusterConfig.privateEndpoint": "10.0.0.2",
        "masterAuth": {"clusterCaCertificate": _BASE64, "clientCertificate": "", "clientKey": ""},
    },
    "gcp:sql/databaseInstance:DatabaseInstance": {
        "privateIpAddress": "10.0.128.3",
        "firstIpAddress": "10.0.128.3",
        "ipAddresses": [{"ipAddress": "10.0.128.3", "type": "PRIVATE", "timeToRetire": ""}],
        "serverCaCerts": [
            {"cert": _PEM, "commonName": "{name}", "createTime": "", "expirationTime": "", "sha1Fingerprint": "{hex}"}
        ],
        "connectionName": "{account}:{region}:{name}",
    },
    "azure-native:containerservice:ManagedCluster": {
        "fqdn": "{name}-{hex}.hcp.{region}.azmk8s.io",
        "privateFQDN": "{name}-{hex}.privatelink.{region}.azmk8s.io",
        "oidcIssuerProfile.issuerURL": "https://{region}.oic.prod-aks.azure.com/{hex}/",
        "identity.principalId": "00000000-0000-4000-8000-{hex}",
    },
    "azure-native:dbforpostgresql:Server": {"fullyQualifiedDomainName": "{name}.postgres.database.azure.com"},
    "azure-native:redisenterprise:RedisEnterprise": {"hostName": "{name}.{region}.redis.azure.net"},
    "random:index/randomPassword:RandomPassword": {"result": "random-password-{hex}", "bcryptHash": "$2a$10${hex}"},
    "random:index/randomBytes:RandomBytes": {"base64": "cmFuZG9tLWJ5dGVzLW9mLWEtcGxhbg==", "hex": "{hex}{hex}"},
}
"""What property names and types do not tell, by type token; keys may be dotted paths."""


@dataclass
class Fill:
    """Makes plausible outputs for one stack."""

    region: str = "eu-central-1"
    account: str = "123456789012"
    references: Mapping[str, Any] | None = None
    """Outputs of any stack that is referred to; default: made from infra.contracts."""
    _classes: dict[str, type] = field(default_factory=dict)
    _shapes: dict[type, dict[str, Any]] = field(default_factory=dict)

    def identifier(self, token: str, name: str, inputs: Mapping[str, Any]) -> str:
        """A physical id shaped like the cloud's."""
        package, _, rest = token.partition(":")
        noun = rest.rpartition(":")[2]
        unique = _hex(token, name)
        if package == "kubernetes":
            metadata = inputs.get("metadata")
            metadata = metadata if isinstance(metadata, dict) else {}
            own = metadata.get("name", name)
            return f"{metadata['namespace']}/{own}" if isinstance(metadata.get("namespace"), str) else str(own)
        if package == "aws" and noun in _AWS_IDS:
            return f"{_AWS_IDS[noun]}-{unique}"
        if package == "gcp":
            return f"projects/{self.account}/locations/{self.region}/{_lower(noun)}s/{name}"
        if package == "azure-native":
            area = rest.partition(":")[0]
            return f"/subscriptions/{self.account}/resourceGroups/{name}/providers/Microsoft.{area.title()}/{_lower(noun)}s/{name}"
        return f"{name}-{unique[:7]}"

    def computed(self, token: str, name: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Computed outputs that the inputs do not already have: property → plain value."""
        outputs: dict[str, Any] = {}
        cls = self._class(token)
        if cls is not None and not token.startswith("kubernetes:"):
            for key, hint in self._outputs(cls).items():
                if key not in inputs:
                    outputs[key] = self._value(hint, key, token, name, _DEPTH)
        for path, value in _FACTS.get(token, {}).items():
            self._place(outputs, inputs, path.split("."), self._formatted(value, token, name))
        return outputs

    def misfits(self, token: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Inputs whose output has another shape (Azure takes identities as a list and answers with a mapping).

        Dotted path → a plausible value of the output's shape. The provider answers a preview with such outputs
        as unknown, and the SDK fails on an echo of them.
        """
        cls = self._class(token)
        if cls is None or not token.startswith("azure-native:"):
            return {}
        return dict(self._misfits(_types.resource_types(cls), inputs, token, ""))

    def _misfits(
        self, hints: Mapping[str, Any], values: Mapping[str, Any], token: str, path: str
    ) -> typing.Iterator[tuple[str, Any]]:
        for key, value in values.items():
            hint = _types.unwrap_type(hints[key]) if key in hints else None
            origin = typing.get_origin(hint) or hint
            if hint is None or _marked(value):
                continue
            mapping = origin in (dict, Mapping) or (isinstance(hint, type) and _types.is_output_type(hint))
            if mapping != isinstance(value, dict) and (mapping or isinstance(value, dict)):
                yield f"{path}{key}", self._value(hint, key, token, key, _DEPTH)
            elif isinstance(value, dict) and isinstance(hint, type) and _types.is_output_type(hint):
                yield from self._misfits(_types.output_type_types(hint), value, token, f"{path}{key}.")

    def contracts(self) -> dict[str, Any]:
        """What any stack of this project exports: plausible values of every contract."""
        if self.references is not None:
            return dict(self.references)
        from infra import contracts

        return {"foundation": _contract(contracts.Foundation), "services": _contract(contracts.Services)}

    def _class(self, token: str) -> type | None:
        if token not in self._classes:
            self._classes |= {getattr(cls, "pulumi_type", ""): cls for cls in _subclasses(pulumi.CustomResource)}
            self._classes.setdefault(token, type(None))
        found = self._classes[token]
        return None if found is type(None) else found

    def _outputs(self, cls: type) -> dict[str, Any]:
        """Pulumi names and types of the outputs that are always there."""
        if cls not in self._shapes:
            names = _types.resource_py_to_pulumi_names(cls)
            shape = {}
            for attribute, member in vars(cls).items():
                if isinstance(member, property) and attribute in names and member.fget is not None:
                    hint = typing.get_type_hints(member.fget).get("return")
                    inner = _argument(hint, pulumi.Output)
                    if inner is not None and not _optional(inner):
                        shape[names[attribute]] = inner
            self._shapes[cls] = shape
        return self._shapes[cls]

    def _value(self, hint: Any, key: str, token: str, name: str, depth: int) -> Any:
        origin = typing.get_origin(hint)
        arguments = typing.get_args(hint)
        if origin in (typing.Union, types.UnionType):
            return self._value(arguments[0], key, token, name, depth)
        if origin in (list, Sequence) or hint is list:
            return (
                [self._value(arguments[0], key.removesuffix("s"), token, name, depth - 1)]
                if arguments and depth
                else []
            )
        if origin in (dict, Mapping) or hint in (dict, Any):
            return {}
        if isinstance(hint, type) and _types.is_output_type(hint):
            if not depth:
                return {}
            members = _types.output_type_types(hint)
            return {member: self._value(inner, member, token, name, depth - 1) for member, inner in members.items()}
        if hint is bool:
            return False
        if hint in (int, float):
            return 1
        return self._text(key, token, name)

    def _text(self, key: str, token: str, name: str) -> str:
        lower = key.lower()
        service = token.partition(":")[2].partition("/")[0]
        noun = _lower(token.rpartition(":")[2])
        if lower.endswith("arn"):
            region = "" if service in _GLOBAL else self.region
            return (
                f"arn:aws:s3:::{name}"
                if service == "s3"
                else f"arn:aws:{service}:{region}:{self.account}:{noun}/{name}"
            )
        if lower == "selflink":
            return f"https://www.googleapis.com/compute/v1/projects/{self.account}/global/{noun}s/{name}"
        if lower.endswith(("url", "uri")):
            return f"https://{name}.example.internal"
        if lower.endswith(("ip", "ipaddress")):
            return "10.0.0.10"
        if lower.endswith(("pem", "certificate", "cacert")):
            return _PEM
        if lower.endswith(("endpoint", "hostname", "fqdn", "dnsname", "domainname", "address", "host")):
            return f"{name}.{noun}.example.internal"
        if lower in ("project", "accountid", "subscriptionid"):
            return self.account
        if lower in ("region", "location"):
            return self.region
        if lower.endswith(("principalid", "clientid", "tenantid", "uniqueid")):
            return f"00000000-0000-4000-8000-{_hex(token, name, key)[:12]}"
        return f"{name}-{lower}" if lower != "name" else name

    def _formatted(self, value: Any, token: str, name: str) -> Any:
        if isinstance(value, str) and "{" in value:
            return value.format(name=name, region=self.region, account=self.account, hex=_hex(token, name)[:12])
        if isinstance(value, dict):
            return {key: self._formatted(item, token, name) for key, item in value.items()}
        if isinstance(value, list):
            return [self._formatted(item, token, name) for item in value]
        return value

    @staticmethod
    def _place(outputs: dict[str, Any], inputs: Mapping[str, Any], path: list[str], value: Any) -> None:
        if len(path) == 1:
            outputs[path[0]] = value
            return
        holder = outputs.get(path[0])
        if not isinstance(holder, dict):
            given = inputs.get(path[0])
            holder = {key: item for key, item in given.items() if not _marked(item)} if isinstance(given, dict) else {}
            outputs[path[0]] = holder
        Fill._place(holder, holder, path[1:], value)


def _marked(value: Any) -> bool:
    return isinstance(value, dict) and any(key.startswith("$") for key in value)


def _contract(cls: Any, path: str = "") -> Any:
    from infra import contracts

    values: dict[str, Any] = {}
    for item in dataclasses.fields(cls):
        name, text = item.name, str(item.type)
        nested = vars(contracts).get(text)
        if isinstance(nested, type) and issubclass(nested, contracts.Contract):
            values[name] = _contract(nested, name)
            continue
        if text.startswith("Mapping["):
            values[name] = dict(samples.NOUNS.get(name, {}))
        elif "dict[" in text:
            values[name] = {}
        elif "list[" in text:
            values[name] = ["10.0.0.0/24"] if name.endswith("cidrs") else [f"{path}-{name}-1", f"{path}-{name}-2"]
        elif "bool" in text:
            values[name] = True
        elif "int" in text:
            values[name] = 5432 if path == "database" else 6379
        else:
            values[name] = samples.TEXTS.get(name, f"{path or 'platform'}-{name}".replace("_", "-"))
    return values


def _subclasses(cls: type) -> typing.Iterator[type]:
    children: list[type] = cls.__subclasses__()
    for child in children:
        yield child
        yield from _subclasses(child)


def _argument(hint: Any, origin: Any) -> Any:
    return typing.get_args(hint)[0] if typing.get_origin(hint) is origin else None


def _optional(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType) and type(None) in typing.get_args(hint)


def _lower(noun: str) -> str:
    return noun[:1].lower() + noun[1:]


def _hex(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:17]
