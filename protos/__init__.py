"""The contract: landing.proto, its alias hello.proto, the hop record hop.proto, and the Python made from them."""
