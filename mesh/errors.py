"""The one error that the mesh's own code raises at a user."""


class MeshError(Exception):
    """What went wrong and what to do about it, in one line."""
