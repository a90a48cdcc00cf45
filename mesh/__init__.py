"""The local mesh: the three services behind real Envoys, on one machine and without containers."""
