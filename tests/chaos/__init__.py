"""Parts of the mesh killed, paused, drained and restarted while calls run."""
