"""Owns private certificate authorities of services inside the cluster, and the server certificates they sign.

Made by the program and kept as secrets in its state, not by cert-manager: Vault and Consul must be up before
anything that issues certificates could be asked, and an authority in state survives the cluster. A server
certificate lives two years; any `up` in its second year replaces it, which rolls the pods that hold it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import pulumi
import pulumi_tls as tls
from pulumi import Output, ResourceOptions

YEAR_HOURS = 8_766
AUTHORITY_HOURS, SERVER_HOURS = 10 * YEAR_HOURS, 2 * YEAR_HOURS


@dataclass(frozen=True)
class AuthorityArgs:
    """What the authority is made of."""

    common_name: str
    protect: bool


class Authority(pulumi.ComponentResource):
    """A private authority for one service."""

    certificate: Output[str]
    """PEM; clients trust it."""
    key: Output[str]
    """PEM, secret."""

    def __init__(self, name: str, args: AuthorityArgs, *, opts: ResourceOptions | None = None) -> None:
        super().__init__("platform:services:Authority", name, {}, opts)
        self._name = name
        key = tls.PrivateKey(
            f"{name}-key",
            algorithm="ECDSA",
            ecdsa_curve="P256",
            opts=ResourceOptions(parent=self, protect=args.protect),
        )
        self.key = Output.secret(key.private_key_pem)
        certificate = tls.SelfSignedCert(
            f"{name}-certificate",
            private_key_pem=self.key,
            is_ca_certificate=True,
            set_subject_key_id=True,
            subject=tls.SelfSignedCertSubjectArgs(common_name=args.common_name),
            allowed_uses=["cert_signing", "crl_signing", "digital_signature"],
            validity_period_hours=AUTHORITY_HOURS,
            early_renewal_hours=SERVER_HOURS,
            opts=ResourceOptions(parent=self, protect=args.protect),
        )
        self.certificate = certificate.cert_pem
        self.register_outputs({"certificate": self.certificate})

    def server(self, purpose: str, dns_names: Sequence[str]) -> tuple[Output[str], Output[str]]:
        """A server's certificate and its secret key, PEM; also valid for 127.0.0.1."""
        child = ResourceOptions(parent=self)
        key = tls.PrivateKey(f"{self._name}-{purpose}-key", algorithm="ECDSA", ecdsa_curve="P256", opts=child)
        secret = Output.secret(key.private_key_pem)
        request = tls.CertRequest(
            f"{self._name}-{purpose}-request",
            private_key_pem=secret,
            subject=tls.CertRequestSubjectArgs(common_name=dns_names[0]),
            dns_names=list(dns_names),
            ip_addresses=["127.0.0.1"],
            opts=child,
        )
        signed = tls.LocallySignedCert(
            f"{self._name}-{purpose}-certificate",
            cert_request_pem=request.cert_request_pem,
            ca_private_key_pem=self.key,
            ca_cert_pem=self.certificate,
            allowed_uses=["digital_signature", "key_encipherment", "server_auth", "client_auth"],
            validity_period_hours=SERVER_HOURS,
            early_renewal_hours=YEAR_HOURS,
            opts=child,
        )
        return signed.cert_pem, secret


def digest(certificate: Output[str]) -> Output[str]:
    """Marks pods with the certificate they were started with: servers read theirs at start alone."""
    return certificate.apply(lambda pem: sha256(pem.encode()).hexdigest()[:16])
