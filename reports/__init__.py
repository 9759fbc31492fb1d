"""The story: records become documents, documents become pages. Builds without torch."""
