"""The one Talk implementation: forwards a call to the next hop, or answers it where there is none."""
