"""What labels ask for, and the configuration that follows: values in, values out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.marathon.model import App, Task
from controllers.edge.render import Layout, render
from controllers.edge.services import KEYS, Found, Mode, Server, find

LAYOUT = Layout(http="127.0.0.1:80", admin="127.0.0.1:90", bind="127.0.0.1", socket="/run/h.sock")
CHECK: dict[str, Any] = {"protocol": "HTTP", "path": "/ping", "portIndex": 0}


def app(app_id: str = "/web", ports: tuple[int, ...] = (10_001,), /, **labels: str) -> App:
    given = {key if key.startswith("HAPROXY") else f"HAPROXY_{key}": v for key, v in labels.items()}
    definition: dict[str, Any] = {
        "id": app_id,
        "labels": {"HAPROXY_GROUP": "external", **given},
        "portDefinitions": [{"port": port} for port in ports],
    }
    return App(app_id, definition, 1, "v", 0, 1, 0, 0, ())


def checked(one: App, check: dict[str, Any] = CHECK) -> App:
    definition = {**one.definition, "healthChecks": [check]}
    return App(one.id, definition, 1, "v", 0, 1, 0, 0, ())


def task(
    app_id: str = "/web",
    port: int = 31_000,
    *,
    host: str = "10.0.0.1",
    state: str = "TASK_RUNNING",
    healthy: bool | None = None,
) -> Task:
    return Task(f"{app_id}.{port}", app_id, "a", host, (port,), state, "v", None, None, healthy)


def found(apps: list[App], tasks: list[Task] | None = None) -> Found:
    return find(apps, tasks or [], group="external", taken=frozenset({10_080, 9_090}))


def why(apps: list[App]) -> list[str]:
    return [f"{p.app_id} {p.label}" for p in found(apps).problems]


def test_an_app_without_the_edges_group_is_not_served() -> None:
    assert found([app(HAPROXY_GROUP="internal")]).services == ()
    assert len(found([app(HAPROXY_GROUP="internal, external")]).services) == 1
    assert found([app(**{"0_GROUP": "internal"})]).services == ()


def test_a_service_has_its_port_and_by_a_host_name_the_shared_one() -> None:
    (service,) = found([app(**{"0_VHOST": "a.example,*.b.example", "0_PATH": "/api"})]).services

    assert (service.mode, service.port, service.path) == (Mode.HTTP, 10_001, "/api")
    assert service.hosts == ("a.example", "*.b.example")
    assert found([app()]).services[0].mode is Mode.TCP


def test_container_ports_are_served_by_their_service_ports() -> None:
    one = app()
    container = {"portMappings": [{"containerPort": 80, "servicePort": 10_200}]}
    one = App(one.id, {**one.definition, "container": container}, 1, "v", 0, 1, 0, 0, ())

    assert found([one]).services[0].port == 10_200


def test_requests_go_to_instances_that_run_and_are_healthy() -> None:
    tasks = [
        task(port=1, healthy=True),
        task(port=2, healthy=False),
        task(port=3),
        task(port=4, state="TASK_STAGING", healthy=True),
        task(port=5, state="TASK_KILLED", healthy=True),
    ]

    (asked,) = found([checked(app())], tasks).services
    (unasked,) = found([app()], tasks).services

    assert [server.port for server in asked.servers] == [1]
    # Nobody looks: a task that runs is taken for well.
    assert [server.port for server in unasked.servers] == [1, 3]
    assert asked.health_path == "/ping"


@pytest.mark.parametrize(
    ("check", "path"),
    [
        ({"protocol": "HTTP", "path": "/ping"}, "/ping"),
        ({"protocol": "HTTP", "path": "/ping", "portIndex": 0, "port": None}, "/ping"),
        ({"protocol": "HTTP", "path": "/ping", "portIndex": 0, "port": 0}, "/ping"),
        ({"protocol": "HTTP", "path": "/ping", "portIndex": 1}, None),
        # An admin port, say: where requests go to, nobody has that path.
        ({"protocol": "HTTP", "path": "/ping", "port": 9_990}, None),
        ({"protocol": "MESOS_HTTP", "path": "/ping", "port": 80}, None),
        ({"protocol": "TCP", "portIndex": 0}, None),
    ],
)
def test_the_edge_asks_what_marathon_asks_of_the_same_port(
    check: dict[str, Any], path: str | None
) -> None:
    (service,) = found([checked(app(), check)]).services

    assert service.health_path == path


def test_who_is_served_stays_while_nobody_knows_how_it_is() -> None:
    """A leader of Marathon that was just elected has heard of no check."""
    apps = [checked(app(**{"0_VHOST": "a.example"})), checked(app("/other", (10_002,)))]
    before = found(apps, [task(port=1, healthy=True), task(port=2, healthy=True)]).services
    tasks = [
        task(port=1),
        task(port=2, state="TASK_KILLING"),
        # New, or another service's by now: neither was ever found healthy there.
        task(port=3),
        task("/other", 1),
    ]

    after = find(apps, tasks, group="external", served=before)

    by_name = {one.name: one.servers for one in after.services}
    assert by_name["/web"] == (Server("10.0.0.1", 1), Server("10.0.0.1", 2, is_ending=True))
    assert by_name["/other"] == ()
    assert after.unknown == 4
    # What is known again counts again.
    ill = find(apps, [task(port=1, healthy=False)], group="external", served=after.services)
    assert {server for one in ill.services for server in one.servers} == set()


def lines_of_servers(tasks: list[Task], **labels: str) -> list[str]:
    text = render(found([app(**{"0_VHOST": "a.example"}, **labels)], tasks).services, LAYOUT).text
    return [line for line in text.splitlines() if line.startswith("  server ")]


def test_an_instance_that_was_asked_to_end_is_the_last_to_be_asked() -> None:
    tasks = [task(port=1), task(port=2, state="TASK_KILLING")]

    stays, ends = lines_of_servers(tasks, **{"0_STICKY": "true"})

    assert not stays.endswith(" backup")
    assert " cookie " in stays
    # A client that comes back goes to another one, which then is its own.
    assert ends.endswith(" backup")
    assert " cookie " not in ends


def test_instances_that_end_share_the_requests_when_there_is_no_other() -> None:
    tasks = [task(port=number, state="TASK_KILLING") for number in (1, 2)]

    text = render(found([app(**{"0_VHOST": "a.example"})], tasks).services, LAYOUT).text

    assert "  option allbackups" in text
    assert text.count(" backup\n") == 2


def test_a_place_that_is_given_again_is_one_server_and_that_of_who_stays() -> None:
    labels = {"HAPROXY_DEPLOYMENT_GROUP": "web", "0_VHOST": "web.example"}
    apps = [app("/web-blue", **labels), app("/web-green", (10_002,), **labels)]
    tasks = [
        task("/web-blue", 1, state="TASK_KILLING"),
        task("/web-blue", 1),
        task("/web-blue", 2, state="TASK_KILLING"),
        task("/web-blue", 2, state="TASK_KILLING"),
        task("/web-blue", 3),
        task("/web-green", 3, state="TASK_KILLING"),
        task("/web-blue", 4, state="TASK_KILLING"),
        task("/web-green", 4),
    ]

    for order in (tasks, tasks[::-1]):
        (service,) = found(apps, order).services

        assert [(server.port, server.is_ending) for server in service.servers] == [
            (1, False),
            (2, True),
            (3, False),
            (4, False),
        ]


def test_apps_of_one_deployment_group_are_one_service() -> None:
    labels = {"HAPROXY_DEPLOYMENT_GROUP": "web", "0_VHOST": "web.example"}
    apps = [app("/web-blue", **labels), app("/web-green", (10_002,), **labels)]
    tasks = [task("/web-blue", 1), task("/web-green", 2)]

    (service,) = found(apps, tasks).services

    assert service.servers == (Server("10.0.0.1", 1), Server("10.0.0.1", 2))


@pytest.mark.parametrize(
    ("label", "value"),
    [
        ("0_VHOST", "a.example\n  http-request deny"),
        ("0_VHOST", "a.example }"),
        ("0_PATH", "/a b"),
        ("0_MODE", "health"),
        ("0_BALANCE", "roundrobin\n  x"),
        ("0_PORT", "70000"),
        ("0_PORT", "9" * 5_000),
        ("0_PORT", "\N{ARABIC-INDIC DIGIT SEVEN}"),
        ("9" * 5_000 + "_PORT", "1"),
        ("DEPLOYMENT_GROUP", "g" * 5_000),
        ("0_STICKY", "perhaps"),
        ("0_BACKEND_HEAD", "backend {backend}"),
        ("1_VHOST", "a.example"),
        ("TEMPLATE", "x"),
    ],
)
def test_a_label_of_another_form_is_told_and_takes_nothing_from_others(
    label: str, value: str
) -> None:
    extra = {"0_VHOST": "c.example"} if label == "0_PATH" else {}
    wrong = app("/wrong", (10_009,), **extra, **{label: value})
    right = app("/right", (10_010,), **{"0_VHOST": "right.example"})

    result = found([wrong, right])

    assert [p.app_id for p in result.problems] in (["/wrong"], ["/wrong"] * 2)
    assert "/right" in {service.name for service in result.services}
    assert "\n  http-request deny" not in render(result.services, LAYOUT).text


def test_of_two_that_want_the_same_the_first_has_it() -> None:
    apps = [
        app("/a", (10_001,), **{"0_VHOST": "x.example"}),
        app("/b", (10_001,), **{"0_VHOST": "x.example,y.example"}),
        app("/edge", (9_090,)),
    ]

    result = found(apps)

    assert [(s.name, s.port, s.hosts) for s in result.services] == [
        ("/a", 10_001, ("x.example",)),
        ("/b", None, ("y.example",)),
    ]
    assert why(apps) == ["/b HAPROXY_0_PORT", "/b HAPROXY_0_VHOST", "/edge HAPROXY_0_PORT"]


def test_longer_paths_and_whole_names_are_looked_at_first() -> None:
    apps = [
        app("/all", (1_001,), **{"0_VHOST": "*.example"}),
        app("/one", (1_002,), **{"0_VHOST": "a.example"}),
        app("/api", (1_003,), **{"0_VHOST": "a.example", "0_PATH": "/api"}),
    ]

    text = render(found(apps).services, LAYOUT).text

    routes = [line.split()[1] for line in text.splitlines() if "use_backend" in line]
    assert routes == ["api_0", "one_0", "all_0"]


def test_requests_that_may_not_be_made_twice_are_not() -> None:
    text = render(found([app(**{"0_VHOST": "a.example"})]).services, LAYOUT).text

    assert "http-request disable-l7-retry unless { method GET HEAD OPTIONS }" in text


@given(st.permutations([("/a", 1), ("/b", 2), ("/c", 3)]))
def test_the_digest_follows_from_what_is_served_and_not_from_its_order(
    order: list[tuple[str, int]],
) -> None:
    apps = [app(name, (10_000 + number,)) for name, number in order]
    tasks = [task(name, 31_000 + number) for name, number in order]

    made = render(found(apps, tasks).services, LAYOUT)

    assert made == render(found(sorted(apps, key=lambda a: a.id), tasks[::-1]).services, LAYOUT)
    assert made.text.startswith(f"# {made.digest}\n")
    fewer = render(found(apps, tasks[1:]).services, LAYOUT)
    assert fewer.digest != made.digest


@given(st.dictionaries(st.sampled_from([f"0_{key}" for key in KEYS]), st.text(max_size=12)))
def test_whatever_labels_say_no_line_of_theirs_gets_into_a_configuration(
    labels: dict[str, str],
) -> None:
    plain = render(found([app(**{"0_VHOST": "a.example"})]).services, LAYOUT).text
    known = {line.split()[0] for line in plain.splitlines() if line.strip()}

    text = render(found([app(**labels)]).services, LAYOUT).text

    assert {line.split()[0] for line in text.splitlines() if line.strip()} <= known | {
        "cookie",
        "#",
    } | {text.split("\n")[0].split()[0]}
