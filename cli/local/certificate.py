"""Owns the local TLS certificate: a certificate authority of this state folder and one for localhost.

The authority is constrained to loopback names, so that trusting it lets nobody impersonate anything else.
"""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass
from pathlib import Path

from cli.local.state import read_json, write_private

_DAYS = 397
"""Most days that browsers accept of a server certificate (CA/Browser Forum ballot SC31)."""
_RENEW_DAYS = 30


@dataclass(frozen=True)
class LocalCertificate:
    """Paths of PEM files: the authority to trust, the server's chain and its key."""

    authority: Path
    chain: Path
    key: Path


def ensure(folder: Path, now: datetime.datetime) -> LocalCertificate:
    """The certificate in ``folder``, made anew where it is missing or ends within 30 days of ``now`` (UTC)."""
    made = LocalCertificate(folder / "ca.pem", folder / "server.pem", folder / "server-key.pem")
    record = read_json(folder / "certificate.json") or {}
    ends = datetime.datetime.fromisoformat(record["ends"]) if "ends" in record else now
    if ends - now > datetime.timedelta(days=_RENEW_DAYS) and all(
        path.exists() for path in (made.authority, made.chain, made.key)
    ):
        return made
    folder.mkdir(mode=0o700, exist_ok=True)
    authority, chain, key = _made(now)
    write_private(made.authority, authority)
    write_private(made.chain, chain)
    write_private(made.key, key)
    write_private(
        folder / "certificate.json", json.dumps({"ends": (now + datetime.timedelta(days=_DAYS)).isoformat()}).encode()
    )
    return made


def _made(now: datetime.datetime) -> tuple[bytes, bytes, bytes]:
    """PEM of a new authority, the server's chain and the server's key. The authority's key is forgotten: it signs once."""
    # Imported here: it takes a tenth of a second, and a start that finds its certificate needs none of it.
    from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def named(name: str) -> x509.Name:
        return x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "AI Agents Platform (local)"),
                x509.NameAttribute(NameOID.COMMON_NAME, name),
            ]
        )

    def usage(*, signs_certificates: bool) -> x509.KeyUsage:
        return x509.KeyUsage(
            digital_signature=True, key_cert_sign=signs_certificates, crl_sign=signs_certificates, content_commitment=False, key_encipherment=False,
            data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
        )  # fmt: skip

    authority_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    begins, ends = now - datetime.timedelta(minutes=5), now + datetime.timedelta(days=_DAYS)

    def builder(subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder().subject_name(subject).issuer_name(named("Local authority")).public_key(public)
            .serial_number(x509.random_serial_number()).not_valid_before(begins).not_valid_after(ends)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        )  # fmt: skip

    loopback = [
        x509.DNSName("localhost"),
        x509.IPAddress(IPv4Network("127.0.0.0/8")),
        x509.IPAddress(IPv6Network("::1/128")),
    ]
    authority = (
        builder(named("Local authority"), authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage(signs_certificates=True), critical=True)
        .add_extension(x509.NameConstraints(permitted_subtrees=loopback, excluded_subtrees=None), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    names = [x509.DNSName("localhost"), x509.IPAddress(IPv4Address("127.0.0.1")), x509.IPAddress(IPv6Address("::1"))]
    server = (
        builder(named("localhost"), server_key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    key = server_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return authority.public_bytes(pem), server.public_bytes(pem) + authority.public_bytes(pem), key
