"""What several tests share: networks, artifacts, planted faults, forgeries."""
