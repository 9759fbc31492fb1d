"""The attention kernels, forward and backward. Nothing here knows torch; `launch` does."""
