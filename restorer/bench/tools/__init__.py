"""What measurements share: albums to run on, runs that are watched, the peer to measure against."""
