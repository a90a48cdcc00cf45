"""How good the audit is: a shop whose cutters are known."""
