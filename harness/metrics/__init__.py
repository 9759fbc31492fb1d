"""The metrics, one file each: what is read off a trial."""
