"""Where spans are asked for."""
