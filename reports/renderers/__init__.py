"""How it is shown: one file turns a document into one format."""
