"""The suite's own facts, once: services and their order, ports, names, identities, who may call whom, the greetings."""
