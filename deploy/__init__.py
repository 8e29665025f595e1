"""What surrounds the daemon: installation, services, broker, and the reference receiver."""
