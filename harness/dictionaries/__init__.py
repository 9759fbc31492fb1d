"""Which patches of a picture a network's dictionaries keep, for a few chosen ones and on the average."""
