"""Which keys the queries of a tile keep between them: what a kernel that visits no other key would visit."""
