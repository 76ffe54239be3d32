"""What runs on the server: service.engine (torch, no network) and service.web (Flask, no torch)."""
