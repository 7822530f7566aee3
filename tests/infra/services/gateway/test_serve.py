"""The gateway's own process in a pod: what changes is taken over without dropping a request, what is broken is not."""

from __future__ import annotations

import re
import socket
import ssl
import threading
import time
from pathlib import Path

import pytest

from cli.local.part import http_status
from infra.gateway.config import render
from infra.gateway.routes import Candidate, Route
from tests.infra.gateway.stubs import Names, Stub, request
from tests.infra.services.gateway.conftest import Mount, Pod, pair

Stubs = tuple[Stub, Stub, Stub, Stub]


def answered(pod: Pod, agent: str, **headers: str) -> object:
    """Which stub answers for an agent; the status where none does."""
    answer = request(pod.port, "POST", f"/agents/{agent}/api/v1/execute", headers=headers, body=b"{}")
    return answer.json.get("answered_by", answer.status)


class Load:
    """Clients that never stop asking; every answer but 200, and every broken connection, is a failure."""

    def __init__(self, port: int, agents: list[str], clients: int = 4) -> None:
        self.failures: list[str] = []
        self.count = 0
        self._port, self._agents, self._ended = port, agents, threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(number,), daemon=True) for number in range(clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, number: int) -> None:
        while not self._ended.is_set():
            number += 1
            agent = self._agents[number % len(self._agents)]
            try:
                answer = request(self._port, "POST", f"/agents/{agent}/api/v1/execute", body=b"{}")
            except (OSError, ValueError, IndexError) as error:
                self.failures.append(repr(error))
                continue
            self.count += 1
            if answer.status != 200:
                self.failures.append(f"{agent}: {answer.status}")


def many(address: str, count: int = 1500, **candidates: Candidate) -> list[Route]:
    """Routes of a fleet of dedicated agents, some with canaries or an idle colour."""
    return [
        Route(f"agent-{number}", (f"some_long_name_of_a_task_{number:04d}_agent_{number % 1000:03d}",), address, candidates.get(f"every{number % 3}"))
        for number in range(count)
    ]  # fmt: skip


def test_fifteen_hundred_routes_are_taken_over_again_and_again_without_dropping_a_request(
    pod: Pod, stubs: Stubs
) -> None:
    _, pool, new, other = stubs
    mount = pod.mount("routes/dedicated-01")
    mount.routes("dedicated-01", *many(other.address))
    pod.start()
    agents = [route.agents[0] for route in many(other.address)[::97]]
    with Load(pod.port, agents) as load:
        for round_number in range(4):
            target = (pool, other)[round_number % 2]
            reloaded = pod.said("Took over routes/dedicated-01")
            mount.routes("dedicated-01", *many(target.address, every0=Candidate(new.address, 10), every1=Candidate(new.address)))  # fmt: skip
            pod.until(lambda before=reloaded: pod.said("Took over routes/dedicated-01") > before, "the reload")
            before = load.count
            pod.until(lambda before=before: load.count > before + 40, "requests go on")
    assert load.failures == []
    assert load.count > 100
    assert answered(pod, agents[1], canary="true") in ("new", "other")


def test_a_request_in_progress_outlives_the_reload_that_takes_its_route_away(pod: Pod, stubs: Stubs) -> None:
    _, pool, _, other = stubs
    pool.delay = 2
    mount = pod.mount("routes/fleet")
    mount.routes("fleet", Route("a", ("slow_agent_001",), pool.address))
    pod.start()
    answers: list[object] = []
    asking = threading.Thread(target=lambda: answers.append(answered(pod, "slow_agent_001")))
    asking.start()
    pod.until(lambda: pool.seen, "the request is with the agent")
    mount.routes("fleet", Route("b", ("quick_agent_002",), other.address))
    pod.until(lambda: answered(pod, "quick_agent_002") == "other", "the new route")
    asking.join()
    assert answers == ["pool"]


def test_a_broken_route_file_keeps_the_last_good_one_and_harms_no_other_fleet(pod: Pod, stubs: Stubs) -> None:
    _, pool, new, other = stubs
    first, second = pod.mount("routes/first"), pod.mount("routes/second")
    first.routes("first", Route("a", ("first_agent_001",), pool.address))
    second.routes("second", Route("b", ("second_agent_002",), other.address))
    pod.start()
    first.put({"first.map": "first_agent_001 {nonsense\n", "first.upstreams": ""})
    pod.until(lambda: pod.said("nginx refuses routes/first"), "the refusal is said")
    assert answered(pod, "first_agent_001") == "pool"
    # While it is broken, the other fleet still changes.
    second.routes("second", Route("b", ("second_agent_002",), new.address))
    pod.until(lambda: answered(pod, "second_agent_002") == "new", "the other fleet's new route")
    assert answered(pod, "first_agent_001") == "pool"
    first.routes("first", Route("a", ("first_agent_001",), other.address))
    pod.until(lambda: answered(pod, "first_agent_001") == "other", "the mended route")
    assert http_status(pod.port, "/health") == 200


def test_a_missing_route_file_keeps_the_last_good_one(pod: Pod, stubs: Stubs) -> None:
    _, pool, _, _ = stubs
    mount = pod.mount("routes/fleet")
    mount.routes("fleet", Route("a", ("a_agent_001",), pool.address, Candidate(pool.address), kept=2))
    pod.start()
    mount.put({})
    time.sleep(0.6)
    assert answered(pod, "a_agent_001") == "pool"
    mount.put({"fleet.map": "a_agent_001 $version_of_nothing;\n"})  # half of a pair
    pod.until(lambda: pod.said("nginx refuses routes/fleet"), "the refusal is said")
    assert answered(pod, "a_agent_001") == "pool"


def test_it_starts_without_any_routes_and_beside_broken_ones(pod: Pod, stubs: Stubs) -> None:
    _, pool, _, _ = stubs
    pod.mount("routes/broken").put({"broken.map": "}"})
    pod.mount("routes/empty")
    good = pod.mount("routes/good")
    good.routes("good", Route("a", ("a_agent_001",), pool.address))
    pod.start()
    assert answered(pod, "a_agent_001") == "pool"
    assert answered(pod, "b_agent_002") == 502


@pytest.mark.parametrize("taken_first", [True, False])
def test_an_agent_may_move_between_fleets_in_either_order(pod: Pod, stubs: Stubs, taken_first: bool) -> None:
    _, pool, _, other = stubs
    old, new = pod.mount("routes/old"), pod.mount("routes/new")
    staying = Route("s", ("staying_agent_002",), pool.address)
    old.routes("old", Route("m", ("moving_agent_001",), pool.address), staying)
    new.routes("new")
    pod.start()
    assert answered(pod, "moving_agent_001") == "pool"
    if taken_first:
        new.routes("new", Route("m", ("moving_agent_001",), other.address))
        pod.until(lambda: pod.said("nginx refuses routes/new"), "an agent is not routed twice")
        assert answered(pod, "moving_agent_001") == "pool"
    old.routes("old", staying)
    if not taken_first:
        pod.until(lambda: answered(pod, "moving_agent_001") == 502, "the old route is gone")
        new.routes("new", Route("m", ("moving_agent_001",), other.address))
    pod.until(lambda: answered(pod, "moving_agent_001") == "other", "the agent is where it moved to")
    assert answered(pod, "staying_agent_002") == "pool"


def test_a_fleet_that_went_away_does_not_keep_its_agents_from_another(pod: Pod, stubs: Stubs) -> None:
    _, pool, _, other = stubs
    old, new = pod.mount("routes/old"), pod.mount("routes/new")
    old.routes("old", Route("m", ("moving_agent_001",), pool.address))
    pod.start()
    old.put({})
    new.routes("new", Route("m", ("moving_agent_001",), other.address))
    pod.until(lambda: answered(pod, "moving_agent_001") == "other", "the agent is where it moved to")


def fingerprint(pod: Pod) -> bytes:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", pod.settings.listeners[1].port), 60) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        return secure.getpeercert(binary_form=True) or b""


def test_a_renewed_certificate_is_served_and_one_that_does_not_fit_its_key_is_not(
    pod: Pod, folder: Path, stubs: Stubs
) -> None:
    mount = Mount.__new__(Mount)
    mount.folder = folder / "source" / "tls"
    pod.mount("routes/fleet").routes("fleet", Route("a", ("a_agent_001",), stubs[1].address))
    pod.start()
    first = fingerprint(pod)
    second = pair(folder / "second")
    with Load(pod.port, ["a_agent_001"], clients=2) as load:
        mount.put({**second, "tls.key": pair(folder / "third")["tls.key"]})
        pod.until(lambda: pod.said("nginx refuses tls"), "the refusal is said")
        assert fingerprint(pod) == first
        mount.put(second)
        pod.until(lambda: fingerprint(pod) != first, "the renewed certificate")
    assert load.failures == []


def test_a_container_that_starts_again_keeps_what_the_one_before_had_taken_over(pod: Pod, stubs: Stubs) -> None:
    _, pool, _, _ = stubs
    mount = pod.mount("routes/fleet")
    mount.routes("fleet", Route("a", ("a_agent_001",), pool.address))
    pod.start()
    mount.put({"fleet.map": "broken"})
    pod.until(lambda: pod.said("nginx refuses routes/fleet"), "the refusal is said")
    pod.kill()
    pod.start()
    assert answered(pod, "a_agent_001") == "pool"


def test_a_container_killed_in_the_middle_of_a_change_starts_from_the_last_good_one(pod: Pod, stubs: Stubs) -> None:
    mount = pod.mount("routes/fleet")
    mount.routes("fleet", Route("a", ("a_agent_001",), stubs[1].address))
    pod.start()
    pod.kill()
    (pod.folder / "live").rename(pod.folder / "live.old")
    mount.put({"fleet.map": "broken"})
    pod.start()
    assert answered(pod, "a_agent_001") == "pool"


@pytest.mark.parametrize("number", [15, 3])  # Kubernetes sends SIGTERM, the image's own stop signal is SIGQUIT
def test_told_to_stop_it_lets_requests_end(pod: Pod, stubs: Stubs, number: int) -> None:
    _, pool, _, _ = stubs
    pool.delay = 2
    pod.mount("routes/fleet").routes("fleet", Route("a", ("a_agent_001",), pool.address))
    pod.start()
    answers: list[object] = []
    asking = threading.Thread(target=lambda: answers.append(answered(pod, "a_agent_001")))
    asking.start()
    pod.until(lambda: pool.seen, "the request is with the agent")
    assert pod.stop(number) == 0
    asking.join()
    assert answers == ["pool"]


def test_it_ends_with_nginx(pod: Pod) -> None:
    pod.start()
    master = int((pod.folder / "nginx.pid").read_text())
    import os

    os.kill(master, 9)
    assert pod.process is not None
    assert pod.process.wait(60) != 0


def test_names_are_asked_of_the_pods_own_dns_servers(pod: Pod, stubs: Stubs) -> None:
    import dataclasses

    control, pool, _, _ = stubs
    with Names().serving() as names:
        names.records = {"control.test": "127.0.0.1", "agent.test": "127.0.0.1"}
        settings = dataclasses.replace(
            pod.settings, control=f"control.test:{control.port}", resolver="kube-dns.kube-system.svc.cluster.local"
        )
        (pod.folder / "source" / "nginx.conf").write_text(render(settings))
        pod.mount("routes/fleet").routes("fleet", Route("a", ("a_agent_001",), f"agent.test:{pool.port}"))
        pod.start(nameservers=f"search svc.cluster.local\nnameserver 127.0.0.1:{names.port}\noptions ndots:5\n")
        pod.until(lambda: answered(pod, "a_agent_001") == "pool", "the name is known")


@pytest.mark.parametrize(
    ("resolv", "written"),
    [
        ("nameserver 10.96.0.10\n", "resolver 10.96.0.10 valid=10s;"),
        ("# a comment\nnameserver\t10.96.0.10 \nnameserver 169.254.20.10\n", "resolver 10.96.0.10 169.254.20.10 valid=10s;"),
        ("nameserver fd00::a\n", "resolver [fd00::a] valid=10s;"),
        ("", "resolver kube-dns.kube-system.svc.cluster.local valid=10s;"),
    ],
)  # fmt: skip
def test_the_resolver_is_what_the_pod_itself_uses(pod: Pod, resolv: str, written: str) -> None:
    import dataclasses
    import os
    import subprocess

    from tests.infra.services.gateway.conftest import SERVE

    settings = dataclasses.replace(pod.settings, resolver="kube-dns.kube-system.svc.cluster.local")
    (pod.folder / "source" / "nginx.conf").write_text(render(settings))
    (pod.folder / "resolv.conf").write_text(resolv)
    environment = {
        "PATH": os.environ["PATH"], "GATEWAY_SOURCE": str(pod.folder / "source"), "GATEWAY_LIVE": str(pod.folder / "live"),
        "GATEWAY_RESOLV": str(pod.folder / "resolv.conf"), "GATEWAY_NGINX": "true",
    }  # fmt: skip
    subprocess.run(["/bin/sh", str(SERVE)], env=environment, check=True, timeout=60, capture_output=True)
    text = (pod.folder / "live.conf").read_text()
    assert re.search(r"^ *resolver .*$", text, re.MULTILINE)[0].strip() == written  # type: ignore[index]


@pytest.mark.parametrize("cloud", ["existing", "aws", "gcp", "azure"])
def test_nginx_takes_each_clouds_own_file_with_pooled_dedicated_and_split_routes(
    folder: Path, stubs: Stubs, cloud: str
) -> None:
    """The very text of the ConfigMap: only its two folders are put where this machine has them."""
    import subprocess

    from catalog import registry
    from cli.local import nginx
    from infra.gateway.routes import render_routes
    from infra.services import gateway
    from infra.settings import parse
    from infra.workloads import routes, selection
    from tests.infra.services.edge.test_edge import CLOUDS

    spec = parse({"cloud": cloud, "environment": "dev", **CLOUDS[cloud]})
    fleet = selection.workloads(spec, registry.load())
    assert sum(len(workload.agents) for workload in fleet) > 1000
    live = folder / "gateway"
    fleets = {
        "fleet": routes.routes(fleet, spec),
        "dedicated": [Route(f"d-{n}", (f"own_agent_{n:03d}",), "own.ai-agents.svc.cluster.local:8201") for n in range(500)],
        "colours": [Route("c", ("colours_agent_001",), "a.ai-agents.svc.cluster.local:8201", Candidate("b.ai-agents.svc.cluster.local:8201"))],
        "canary": [Route("k", ("canary_agent_001",), "a.ai-agents.svc.cluster.local:8201", Candidate("b.ai-agents.svc.cluster.local:8201", 10))],
    }  # fmt: skip
    for fleet, table in fleets.items():
        (live / "routes" / fleet).mkdir(parents=True)
        for name, text in render_routes(fleet, table).items():
            (live / "routes" / fleet / name).write_text(text)
    (live / "tls").mkdir()
    for name, content in pair(folder / "pair").items():
        (live / "tls" / name).write_bytes(content)
    text = gateway.configuration_map(spec)["data"]["nginx.conf"].replace('"/tmp/', f'"{folder}/')
    text = text.replace("kube-dns.kube-system.svc.cluster.local", "127.0.0.1")
    (folder / "nginx.conf").write_text(text)
    command = [str(nginx.binary()), "-t", "-q", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")
