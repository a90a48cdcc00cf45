"""An audit as one self-contained HTML file: the page "Propagation" without a store behind it."""

from __future__ import annotations

from grpc_tracing.audit.result import Audit
from grpc_tracing.store.render import Style, environment
from grpc_tracing.store.views_audit import audit_view, service_view


class ReportLinks:
    """Places in this file; spans stay where they were read."""

    def propagation(self, service: str, place: int) -> str:  # noqa: ARG002 - its place is enough
        return f"#service-{place}"

    def span(self, trace_id: str) -> str:  # noqa: ARG002 - no trace is in this file
        return ""


def render(audit: Audit) -> str:
    """The whole file as text."""
    style = Style.read()
    return (
        environment()
        .get_template("audit_report.html")
        .render(
            links=ReportLinks(),
            style=style,
            view=audit_view(audit),
            services=[service_view(one, (), ()) for one in audit.services],
        )
    )
