"""What the mesh's own code raises at a user."""


class MeshError(Exception):
    """What went wrong and what to do about it, in one line."""


class NotUpError(MeshError):
    """There is no mesh to ask."""


class NoEnvoyError(MeshError):
    """No Envoy that could be used is on this machine."""
