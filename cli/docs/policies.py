"""Owns the reference of policies as code and of the charts the platform installs."""

from __future__ import annotations

from cli.docs.markdown import code, made_by, table
from infra.policies import POLICIES
from infra.policies.model import SEVERITIES
from infra.services.charts import CHARTS


def page() -> str:
    """docs/reference/policies.md."""
    ordered = sorted(POLICIES, key=lambda policy: (SEVERITIES.index(policy.severity), policy.id))
    return "\n".join(
        (
            made_by("infra/policies/ and infra/services/charts.py"),
            "# Policies and charts\n",
            "## Policies\n",
            f"{len(POLICIES)} rules over a stack's resources. `fleet check STACK` runs them offline; "
            "`pulumi preview --policy-pack infra/policies/pack` runs them in the engine. A finding names the resource and "
            "what to do. A value that is not known before `up` counts as fulfilled; the engine asks again.\n",
            table(
                ("Policy", "Severity", "Rule", "What to do", "Source"),
                ((code(each.id), each.severity, each.title, each.remedy, each.source) for each in ordered),
            ),
            "Who may talk to whom in the cluster is [a page of its own](../reachability.md).\n",
            "## Charts\n",
            "Every Helm chart the platform installs, pinned.\n",
            table(
                ("Chart", "Version", "Installs", "Repository", "Read in"),
                (
                    (code(each.name), each.version, each.app_version, each.repository, f"{each.source}, {each.date}")
                    for each in CHARTS
                ),
            ),
        )
    )
