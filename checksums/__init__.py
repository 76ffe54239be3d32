"""The trust core that both sides share: digests, manifest, signatures and the tar format. Standard library only."""
