"""Whether the calls will be traced: what the ingress gateway and svc1 do, once our objects are there."""

from collections.abc import Iterator

from chain import topology
from deploy.kubernetes import manifests, sampling, tracing
from deploy.kubernetes.findings import Finding, Target
from deploy.steps import DeployError

NAMESPACE = topology.NAMESPACE


def who_traces(target: Target) -> Iterator[Finding]:
    """Whether the ingress gateway and svc1 trace, once our objects are there, and how many of the calls."""
    try:
        seen = tracing.look(
            target.data,
            target.mesh,
            (NAMESPACE, target.gateway.namespace),
            tracing.revision_of(target.data, NAMESPACE),
        )
    except DeployError as error:
        yield Finding("warning", f"who traces could not be seen: {str(error).splitlines()[0]}")
        return
    objects, changed = tracing.fitted(target.objects, seen)
    if changed:
        yield Finding("ok", changed)
    planned = tracing.with_planned(seen, objects)
    yield of_the_gateway(target, planned)
    yield from _without_a_backend(target, planned)
    ours = sampling.tracing(*tracing.ours(target.objects), planned.telemetries, planned.mesh)
    if ours.state == "off" or ours.percentage == 0:
        who = "waypoints" if manifests.is_ambient(target.objects) else "sidecars"
        yield Finding("warning", f"the {who} of {NAMESPACE} make no spans: {ours.why}")


def _without_a_backend(target: Target, seen: tracing.Seen) -> Iterator[Finding]:
    """A provider whose Service is not there: istiod then pushes no tracing at all, as for one that nothing defines."""
    found = sampling.tracing(*tracing.ours(target.objects), seen.telemetries, seen.mesh)
    service = tracing.service_of(seen.mesh, found.provider or "")
    if service is None or manifests.has_named(target.objects, "Service", service[1]):
        return
    where, name = service
    try:
        there = bool(target.data.find("services", name, namespace=where))
    except DeployError:
        return
    if not there:
        text = f"the provider {found.provider} sends to the Service {where}/{name}, which is not there: nobody traces"
        yield Finding("warning", text)


def of_the_gateway(target: Target, seen: tracing.Seen) -> Finding:
    """What the gateway, which decides for the whole chain, does with these objects."""
    where = target.gateway.namespace
    found = sampling.tracing(tracing.ingress(target.gateway), "out", seen.telemetries, seen.mesh)
    if found.state == "unknown":
        return Finding("warning", _half_seen(found, seen, asm=target.gateway.asm))
    if found.percentage == 0 or "disableSpanReporting" in found.why:
        apply = tracing.indented(tracing.telemetry(where, called=tracing.wide(seen, where)))
        return Finding(
            "failed", f"the ingress gateway samples 0 %, so no call would have a trace ({found.why}): apply\n{apply}"
        )
    if not found.makes_spans:
        return Finding("warning", f"nothing is traced, {found.why}: {tracing.advice(seen, where)}")
    if found.percentage is None:
        return Finding("warning", f"what the ingress gateway samples is not known: {found.why}")
    if found.percentage < 100:
        provider = found.provider or "" if found.state == "traced" else ""
        apply = tracing.indented(tracing.telemetry(where, provider, tracing.wide(seen, where)))
        return Finding("warning", _sampled_in_part(found, apply))
    return Finding("ok", f"the ingress gateway samples every call, to {found.provider}")


def _sampled_in_part(found: sampling.Tracing, apply: str) -> str:
    text = f"the ingress gateway samples {found.percentage:g} % of the calls ({found.why}): for all, "
    if found.state == "bootstrap":  # a Telemetry without a provider would turn it off
        return f"{text}set defaultConfig.tracing.sampling: 100 in the mesh's configuration and restart the gateway"
    return f"{text}apply\n{apply}"


def _half_seen(found: sampling.Tracing, seen: tracing.Seen, *, asm: bool) -> str:
    hidden = (
        f"{' and '.join(seen.hidden)} could not be read{', see the tracing settings in the console' if asm else ''}"
    )
    if found.percentage is None:
        return f"what the ingress gateway samples is not known: {hidden}"
    return f"the ingress gateway samples {found.percentage:g} %; whether spans leave it is not known: {hidden}"
