"""`client load`: holds a load on the chain and tells what it took."""
