"""The formats that spans come in."""
