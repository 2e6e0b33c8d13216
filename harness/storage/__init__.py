"""The disk: files that are written whole, leases, checkpoints, folders of data."""
