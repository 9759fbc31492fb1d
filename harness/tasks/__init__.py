"""The restoration tasks, one file each: how an image is degraded and how the result is judged."""
