"""svc2: the Talk service with the facts of service.yaml."""
