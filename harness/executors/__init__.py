"""The ways to run cells: today, worker processes on this machine."""
