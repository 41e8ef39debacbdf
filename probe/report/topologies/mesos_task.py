"""A Mesos task that has not ended."""

from __future__ import annotations

from probe.report.schema import Topology, ref, symbol, text, texts

TOPOLOGY = Topology(
    name="mesos_task",
    label="Mesos tasks",
    identity="framework id;task id",
    columns=(
        text("cluster", "Cluster of its agent."),
        text("name", "Name."),
        text("task_id", "Id within its framework."),
        ref("framework", "mesos_framework", "Framework."),
        ref("agent", "mesos_agent", "Agent that it runs on."),
        ref("app", "marathon_app", "Marathon app that it is an instance of."),
        ref("container", "container", "Container that it runs in."),
        ref("process", "process", "First process, where it runs here."),
        symbol("role", "Role that its resources are allocated to."),
        symbol("state", "State, as Mesos names it."),
        texts("resources", "Resources, `name=quantity`."),
    ),
)
