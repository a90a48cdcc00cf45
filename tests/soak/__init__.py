"""A load held for long: nothing fails, nothing grows."""
