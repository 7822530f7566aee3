"""The one template where it differs by place: TLS, trusted proxies, limits, names resolved at request time, many routes."""

from __future__ import annotations

import dataclasses
import re
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx
import pytest

from catalog.contract import ErrorCode
from cli.local import certificate, nginx
from cli.local.part import free_ports
from infra.gateway.config import Certificate, GatewayError, GatewaySettings, Listener, render
from infra.gateway.routes import Candidate, Route, render_routes
from tests.e2e.platform import wait
from tests.infra.gateway.conftest import Gateway, check, settings_for, started
from tests.infra.gateway.stubs import Names, Stub, raw, request

CLUSTER = GatewaySettings(
    hosts=("api.agents.example.com",),
    listeners=(
        Listener(8080, redirect=True),
        Listener(8443, certificate=Certificate("/etc/nginx/tls/tls.crt", "/etc/nginx/tls/tls.key")),
    ),
    control="control.ai-agents.svc.cluster.local:8090",
    routes="/etc/nginx/routes/*",
    pid="/tmp/nginx.pid",
    temporary="/tmp",
    resolver="kube-dns.kube-system.svc.cluster.local",
    trusted_proxies=("10.0.0.0/8", "2001:db8::/32"),
)


@pytest.fixture
def names() -> Iterator[Names]:
    with Names().serving() as served:
        yield served


def execute(port: int, agent: str, headers: dict[str, str] | None = None) -> dict[str, object]:
    return request(port, "POST", f"/agents/{agent}/api/v1/execute", headers=headers, body=b"{}").json


def test_a_canary_gets_its_share_and_whoever_asks_for_it(gateway: Gateway) -> None:
    answered = [execute(gateway.port, "half_agent_004")["answered_by"] for _ in range(60)]
    assert {"pool", "new"} == set(answered)
    assert 10 < answered.count("new") < 50
    assert {execute(gateway.port, "half_agent_004", {"canary": "true"})["answered_by"] for _ in range(10)} == {"new"}
    # Another agent of the same address has no part in it.
    assert execute(gateway.port, "pooled_agent_001", {"canary": "true"})["answered_by"] == "pool"


def test_an_idle_colour_is_reached_by_header_alone(gateway: Gateway) -> None:
    assert {execute(gateway.port, "colours_agent_005")["answered_by"] for _ in range(10)} == {"pool"}
    assert execute(gateway.port, "colours_agent_005", {"canary": "true"})["answered_by"] == "new"
    assert execute(gateway.port, "colours_agent_005", {"canary": "1"})["answered_by"] == "pool"


def test_the_version_asked_for_is_told_to_the_agent_too(gateway: Gateway) -> None:
    """Where Istio splits, it is the header the agent's Service is called with that decides."""
    execute(gateway.port, "colours_agent_005", {"canary": "true"})
    execute(gateway.port, "colours_agent_005")
    assert gateway.new.seen[-1].headers["canary"] == "true"
    assert "canary" not in gateway.pool.seen[-1].headers


def test_a_share_whose_version_is_gone_is_answered_by_the_one_that_serves(
    folder: Path, stubs: tuple[Stub, Stub, Stub, Stub]
) -> None:
    control, pool, _, other = stubs
    (closed,) = free_ports(1)
    gone = f"127.0.0.1:{closed}"
    routes = [
        Route("a", ("a_agent_001",), pool.address, Candidate(gone, 90)),
        Route("b", ("b_agent_002",), gone, Candidate(gone, 50), fallback=other.address),
        Route("c", ("c_agent_003",), gone, fallback=other.address),
    ]
    with started(folder, settings_for(folder, control.address), routes) as port:
        assert {execute(port, "a_agent_001")["answered_by"] for _ in range(40)} == {"pool"}
        assert {execute(port, "c_agent_003")["answered_by"] for _ in range(10)} == {"other"}
        assert {execute(port, "b_agent_002")["answered_by"] for _ in range(20)} == {"other"}
        # Who asks for the new version is not given another for it.
        refused = request(port, "POST", "/agents/a_agent_001/api/v1/execute", headers={"canary": "true"}, body=b"{}")
        assert (refused.status, refused.json["error"]["code"]) == (502, "BAD_GATEWAY")
    # Each was executed once.
    assert len(pool.seen) == 40
    assert len(other.seen) == 30


def test_a_service_that_is_taken_away_is_followed_to_its_fallback(
    folder: Path, stubs: tuple[Stub, Stub, Stub, Stub], names: Names
) -> None:
    """A rollout's own Deployment ends before every gateway has the routes without it."""
    control, pool, new, _ = stubs
    names.records = {"control.test": "127.0.0.1", "agent.test": "127.0.0.1", "pool.test": "127.0.0.1"}
    settings = settings_for(
        folder, f"control.test:{control.port}", resolver=f"127.0.0.1:{names.port}", resolver_seconds=1
    )
    routes = [Route("a", ("a_agent_001",), f"agent.test:{new.port}", fallback=f"pool.test:{pool.port}")]
    with started(folder, settings, routes) as port:
        # Names of upstream blocks are resolved just after the start, in any order.
        wait("the answer of new", lambda: execute(port, "a_agent_001").get("answered_by") == "new", 60)
        del names.records["agent.test"]
        wait("the answer of pool", lambda: execute(port, "a_agent_001")["answered_by"] == "pool", 60)


def test_switching_colours_is_one_changed_address(folder: Path, stubs: tuple[Stub, Stub, Stub, Stub]) -> None:
    control, blue, green, _ = stubs
    settings = settings_for(folder, control.address)
    with started(folder, settings, [Route("a", ("a_agent_001",), blue.address, Candidate(green.address))]) as port:
        assert execute(port, "a_agent_001")["answered_by"] == "pool"
        configured = nginx.prepare(
            folder, settings, [Route("a", ("a_agent_001",), green.address, Candidate(blue.address))]
        )
        subprocess.run(
            [nginx.binary(), "-p", folder, "-c", configured, "-e", "stderr", "-s", "reload"],
            check=True,
            capture_output=True,
        )
        wait("the answer of new", lambda: execute(port, "a_agent_001")["answered_by"] == "new", 60)


def test_fifteen_hundred_dedicated_agents_and_canaries_fit(folder: Path, stubs: tuple[Stub, Stub, Stub, Stub]) -> None:
    control, _, new, other = stubs
    routes = [
        Route(f"agent-{number}", (f"some_long_name_of_a_task_for_a_trade_{number:04d}_agent_{number % 1000:03d}",), other.address, Candidate(new.address, 10) if number % 3 == 0 else None)
        for number in range(1500)
    ]  # fmt: skip
    with started(folder, settings_for(folder, control.address), routes) as port:
        assert execute(port, routes[1499].agents[0])["answered_by"] == "other"
        assert execute(port, routes[0].agents[0], {"canary": "true"})["answered_by"] == "new"


def test_two_fleets_bring_their_own_routes_and_none_need_be_there(
    folder: Path, stubs: tuple[Stub, Stub, Stub, Stub]
) -> None:
    control, pool, _, other = stubs
    settings = settings_for(folder, control.address, routes=str(folder / "routes" / "*"))
    for fleet, address in (("first", pool.address), ("second", other.address)):
        (folder / "routes" / fleet).mkdir(parents=True)
        for name, text in render_routes(
            fleet, [Route("same-name", (f"{fleet}_agent_001",), address, Candidate(address, 5), kept=2)]
        ).items():
            (folder / "routes" / fleet / name).write_text(text)
    with started(folder, settings, []) as port:
        assert execute(port, "first_agent_001")["answered_by"] == "pool"
        assert execute(port, "second_agent_001")["answered_by"] == "other"


def test_names_are_resolved_at_request_time_and_a_missing_one_is_one_agents_502(
    folder: Path, stubs: tuple[Stub, Stub, Stub, Stub], names: Names
) -> None:
    control, pool, _, other = stubs
    names.records = {"control.test": "127.0.0.1", "pool.test": "127.0.0.1"}
    settings = settings_for(
        folder, f"control.test:{control.port}", resolver=f"127.0.0.1:{names.port}", resolver_seconds=1
    )
    routes = [
        Route("pool", ("pooled_agent_001",), f"pool.test:{pool.port}", kept=4),
        Route("dedicated", ("dedicated_agent_002",), f"dedicated.test:{other.port}"),
        Route("missing-pool", ("missing_agent_003",), f"missing.test:{other.port}", kept=4),
    ]
    with started(folder, settings, routes) as port:
        # Names of upstream blocks are resolved just after the start.
        wait("the answer of pool", lambda: execute(port, "pooled_agent_001").get("answered_by") == "pool", 60)
        for agent in ("dedicated_agent_002", "missing_agent_003"):
            missing = request(port, "POST", f"/agents/{agent}/api/v1/execute", body=b"{}")
            assert (missing.status, missing.error["code"]) == (502, "BAD_GATEWAY")
        assert execute(port, "pooled_agent_001")["answered_by"] == "pool"
        names.records["dedicated.test"] = "127.0.0.1"
        wait("the answer of other", lambda: execute(port, "dedicated_agent_002").get("answered_by") == "other", 60)


def test_an_address_over_its_rate_gets_429_with_the_envelope(
    folder: Path, stubs: tuple[Stub, Stub, Stub, Stub]
) -> None:
    control, pool, _, _ = stubs
    settings = settings_for(folder, control.address, address_rate=1, address_burst=3)
    with started(folder, settings, [Route("a", ("a_agent_001",), pool.address)]) as port:
        answers = [request(port, "POST", "/agents/a_agent_001/api/v1/execute", body=b"{}") for _ in range(12)]
        assert [answer.status for answer in answers[:4]] == [200] * 4
        # A place is free again every second.
        refused = next(answer for answer in answers if answer.status != 200)
        assert (refused.status, refused.headers["retry-after"]) == (429, "1")
        assert refused.json == {
            "error": {
                "code": "RATE_LIMIT_EXCEEDED",
                "message": "Rate limit exceeded. Retry after 1 seconds",
                "retry_after": 1,
            }
        }
        # Before control is asked: nobody's requests a minute are spent.
        assert len(control.seen) == sum(answer.status == 200 for answer in answers)
        assert request(port, "GET", "/health").status == 200


@pytest.mark.parametrize(
    ("trusted", "address"),
    [((), "127.0.0.1"), (("10.0.0.0/8",), "127.0.0.1"), (("127.0.0.1/32", "10.0.0.0/8"), "203.0.113.9")],
)
def test_a_forwarded_address_counts_from_trusted_proxies_alone(
    folder: Path, stubs: tuple[Stub, Stub, Stub, Stub], trusted: tuple[str, ...], address: str
) -> None:
    control, pool, _, _ = stubs
    with started(
        folder,
        settings_for(folder, control.address, trusted_proxies=trusted),
        [Route("a", ("a_agent_001",), pool.address)],
    ) as port:
        # 10.0.0.8 is a proxy of ours; what is left of the first address that is not trusted may be invented.
        execute(port, "a_agent_001", {"X-Forwarded-For": "6.6.6.6, 203.0.113.9, 10.0.0.8"})
    assert control.seen[0].headers["x-real-ip"] == address
    assert pool.seen[0].headers["x-forwarded-for"] == address


def test_tls_redirects_from_plain_http_and_names_itself_strictly(
    folder: Path, stubs: tuple[Stub, Stub, Stub, Stub]
) -> None:
    import datetime

    from cli.local.part import free_ports

    control, pool, _, _ = stubs
    folder.mkdir(parents=True, exist_ok=True)
    made = certificate.ensure(folder / "tls", datetime.datetime.now(datetime.UTC))
    plain, secure = free_ports(2)
    listeners = (
        Listener(plain, "127.0.0.1", redirect=True),
        Listener(secure, "127.0.0.1", Certificate(str(made.chain), str(made.key))),
    )
    settings = settings_for(folder, control.address, listeners=listeners)
    with started(folder, settings, [Route("a", ("a_agent_001",), pool.address)], port=plain):
        moved = request(plain, "GET", "/api/v1/agents?q=x")
        assert (moved.status, moved.headers["location"]) == (308, "https://localhost/api/v1/agents?q=x")
        assert "strict-transport-security" not in moved.headers
        client = httpx.Client(verify=ssl.create_default_context(cafile=str(made.authority)), http2=False, timeout=60)
        with client:
            answer = client.post(f"https://localhost:{secure}/agents/a_agent_001/api/v1/execute", json={})
            assert answer.status_code == 200
            assert answer.headers["strict-transport-security"] == "max-age=31536000; includeSubDomains"
            assert (
                client.post(
                    f"https://localhost:{secure}/agents/a_agent_001/api/v1/execute", json={}, headers={"Host": "evil"}
                ).status_code
                == 421
            )
        assert pool.seen[0].headers["x-forwarded-proto"] == "https"
        on_tls_port = raw(secure, b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert (on_tls_port.status, on_tls_port.error["code"]) == (400, "INVALID_REQUEST")


def test_the_clusters_configuration_passes_nginxs_own_check(folder: Path, names: Names) -> None:
    # Its paths and DNS server are a pod's: these three are put where the check can reach them, nothing else changes.
    import datetime

    folder.mkdir(parents=True, exist_ok=True)
    made = certificate.ensure(folder / "tls", datetime.datetime.now(datetime.UTC))
    here = dataclasses.replace(
        CLUSTER,
        resolver=f"127.0.0.1:{names.port}",
        pid=str(folder / "nginx.pid"),
        temporary=str(folder),
        routes=str(folder / "routes" / "*"),
        listeners=(
            CLUSTER.listeners[0],
            dataclasses.replace(CLUSTER.listeners[1], certificate=Certificate(str(made.chain), str(made.key))),
        ),
    )
    path = folder / "nginx.conf"
    path.write_text(render(here))
    check(folder, path)
    text = render(CLUSTER)
    assert "resolver kube-dns.kube-system.svc.cluster.local valid=10s;" in text
    assert "set_real_ip_from 10.0.0.0/8;\n    set_real_ip_from 2001:db8::/32;" in text
    assert not re.search(r"^user ", text, re.MULTILINE)


def test_rendering_is_a_pure_function_of_its_settings() -> None:
    assert render(CLUSTER) == render(CLUSTER)
    routes = [Route("b", ("b_agent_002",), "127.0.0.1:1"), Route("a", ("a_agent_001",), "127.0.0.1:1")]
    assert render_routes("f", routes)["f.map"] == render_routes("f", routes[::-1])["f.map"]


def test_every_error_code_of_a_refusal_is_one_of_the_contract() -> None:
    codes = set(re.findall(r'"code":"([A-Z_]+)"', render(CLUSTER)))
    assert codes <= {code.value for code in ErrorCode}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hosts": ()}, "at least one host"),
        ({"hosts": ("a b",)}, "'a b' is not a host"),
        ({"hosts": ("a;}",)}, "is not a host"),
        ({"control": "nowhere"}, "is not host:port"),
        ({"control": "127.0.0.1:70000"}, "is not host:port"),
        ({"resolver": None}, "set resolver"),
        ({"resolver": "a; b"}, "resolver"),
        ({"trusted_proxies": ("10.0.0.0/99",)}, "is not a network"),
        ({"access_log": "/tmp/$host"}, "nginx cannot take"),
        ({"pid": 'a"b'}, "nginx cannot take"),
        ({"user": "root; x"}, "is not a user"),
        ({"listeners": ()}, "at least one port"),
        ({"client_address_header": "X Y"}, "is not a word"),
    ],
)  # fmt: skip
def test_a_setting_nginx_cannot_hold_safely_is_refused_by_name(changes: dict[str, object], said: str) -> None:
    with pytest.raises(GatewayError, match=re.escape(said)):
        render(dataclasses.replace(CLUSTER, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fleet", "routes", "said"),
    [
        ("A b", [], "use lower-case"),
        ("f", [Route("a", ("no id",), "127.0.0.1:1")], "is not an agent id"),
        ("f", [Route("a", ("a_agent_001", "a_agent_001"), "127.0.0.1:1")], "already has a route"),
        ("f", [Route("a", ("a_agent_001",), "127.0.0.1")], "is not host:port"),
        ("f", [Route("a", ("a_agent_001",), "h:1", Candidate("h:2", 101))], "is not within 0 and 100"),
        ("f", [Route("a", ("a_agent_001",), "h:1"), Route("a", ("a_agent_002",), "h:1")], "is there twice"),
        ("f", [Route("a;", ("a_agent_001",), "h:1")], "use lower-case"),
    ],
)  # fmt: skip
def test_a_route_that_would_break_the_gateway_is_refused(fleet: str, routes: list[Route], said: str) -> None:
    with pytest.raises(GatewayError, match=re.escape(said)):
        render_routes(fleet, routes)
