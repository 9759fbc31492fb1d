"""The experiment: a spec unfolds into cells; each cell is run once and becomes records."""
