"""The part of a Kubernetes API that Vault's Kubernetes auth needs: the real one of KUBECONFIG, or a stand-in that reviews tokens."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

AUDIENCE_OF_THE_API = "https://kubernetes.default.svc"


class Kubernetes(Protocol):
    """A Kubernetes that makes and reviews service-account tokens."""

    host: str
    ca: str
    """PEM; empty for plain HTTP."""
    reviewer: str
    """A token that may review tokens."""

    def token(self, namespace: str, account: str, audience: str = "vault") -> str:
        """A token of a service account."""
        ...


@contextmanager
def running() -> Iterator[Kubernetes]:
    """The real API server where KUBECONFIG is set, else a stand-in."""
    if os.environ.get("KUBECONFIG"):
        real = RealKubernetes()
        try:
            yield real
        finally:
            real.clean()
    else:
        with stand_in() as found:
            yield found


class RealKubernetes:
    """The API server of KUBECONFIG; what is made there carries a name of its own and is removed by ``clean``."""

    def __init__(self) -> None:
        from kubernetes import client, config

        settings = client.Configuration()
        config.load_kube_config(client_configuration=settings)
        self.core = client.CoreV1Api(client.ApiClient(settings))
        self._rbac = client.RbacAuthorizationV1Api(self.core.api_client)
        self._made: list[tuple[str, str]] = []
        self.host = settings.host
        with open(settings.ssl_ca_cert, encoding="ascii") as file:
            self.ca = file.read()
        # What the chart's authDelegator gives Vault's own account.
        self.reviewer = self.token("vault", "vault", AUDIENCE_OF_THE_API)
        subject = {"kind": "ServiceAccount", "name": "vault", "namespace": "vault"}
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:auth-delegator"}
        body = {"metadata": {"name": "tests-vault"}, "roleRef": role, "subjects": [subject]}
        self._ensure(lambda: self._rbac.create_cluster_role_binding(body))

    def token(self, namespace: str, account: str, audience: str = "vault") -> str:
        """A token by TokenRequest, its namespace and account made first."""
        if (namespace, account) not in self._made:
            self._ensure(lambda: self.core.create_namespace({"metadata": {"name": namespace}}))
            self._ensure(
                lambda: self.core.create_namespaced_service_account(namespace, {"metadata": {"name": account}})
            )
            self._made.append((namespace, account))
        body = {"spec": {"audiences": [audience], "expirationSeconds": 3600}}
        return str(self.core.create_namespaced_service_account_token(account, namespace, body).status.token)

    def clean(self) -> None:
        """Remove the accounts and the binding; namespaces stay, others may use them."""
        from kubernetes.client.exceptions import ApiException

        for namespace, account in self._made:
            try:
                self.core.delete_namespaced_service_account(account, namespace)
            except ApiException as error:
                if error.status != 404:
                    raise
        self._rbac.delete_cluster_role_binding("tests-vault")

    @staticmethod
    def _ensure(make: Any) -> None:
        from kubernetes.client.exceptions import ApiException

        for _ in range(60):
            try:
                make()
            except ApiException as error:
                if error.status == 409:
                    return
                # A namespace that is on its way out, from a test before.
                if error.status != 403 or "terminat" not in str(error.body):
                    raise
                time.sleep(1)
            else:
                return


class _Review(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        spec = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["spec"]
        server: Any = self.server
        wanted = spec.get("audiences") or [AUDIENCE_OF_THE_API]
        try:
            claims = jwt.decode(spec["token"], server.key.public_key(), ["RS256"], audience=wanted)
            user = {"username": claims["sub"], "uid": "uid-1", "groups": ["system:serviceaccounts"]}
            audiences = [audience for audience in wanted if audience in claims["aud"]]
            status: dict[str, Any] = {"authenticated": True, "user": user, "audiences": audiences}
        except jwt.PyJWTError as error:
            status = {"authenticated": False, "error": str(error)}
        review = {"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "status": status}
        body = json.dumps(review).encode()
        self.send_response(201)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


class StandIn:
    """Reviews the tokens it made itself, as strictly as the API server does."""

    ca = ""

    def __init__(self, server: Any) -> None:
        self._server = server
        self.host = f"http://127.0.0.1:{server.server_port}"
        self.reviewer = self.token("vault", "vault", AUDIENCE_OF_THE_API)

    def token(self, namespace: str, account: str, audience: str = "vault") -> str:
        """A signed token."""
        now = int(time.time())
        claims = {
            "iss": AUDIENCE_OF_THE_API,
            "sub": f"system:serviceaccount:{namespace}:{account}",
            "aud": [audience],
            "iat": now,
            "nbf": now,
            "exp": now + 3600,
            "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": account, "uid": "uid-1"}},
        }
        return jwt.encode(claims, self._server.key, algorithm="RS256")


@contextmanager
def stand_in() -> Iterator[StandIn]:
    """A stand-in on loopback."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Review) as server:
        server.key = rsa.generate_private_key(65537, 2048)  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield StandIn(server)
        finally:
            server.shutdown()
